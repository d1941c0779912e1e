import Tensors

extension GEMMConfiguration {
    static let space = [
        OperatorTuning.Dimension("tileM", [64, 128, 192, 256]), OperatorTuning.Dimension("tileN", [128, 160, 192, 256]),
        OperatorTuning.Dimension("stages", [3, 4, 5, 6]), OperatorTuning.Dimension("consumers", [1, 2, 3]),
        OperatorTuning.Dimension("pingPong", [0, 1]), OperatorTuning.Dimension("clusterM", [1, 2]),
        OperatorTuning.Dimension("group", [4, 8, 32]), OperatorTuning.Dimension("staging", [1, 3, 5]),
    ]

    /// Nil where a name is missing.
    init?(_ values: [String: Int]) {
        guard let tileM = values["tileM"], let tileN = values["tileN"], let stages = values["stages"], let consumers = values["consumers"],
            let isPingPong = values["pingPong"], let clusterM = values["clusterM"], let group = values["group"],
            let staging = values["staging"]
        else { return nil }
        self.init(
            tileM: tileM, tileN: tileN, stages: stages, consumers: consumers, isPingPong: isPingPong != 0, clusterM: clusterM, group: group,
            staging: staging)
    }

    var values: [String: Int] {
        [
            "tileM": tileM, "tileN": tileN, "stages": stages, "consumers": consumers, "pingPong": isPingPong ? 1 : 0, "clusterM": clusterM,
            "group": group, "staging": staging,
        ]
    }

    /// 64-row blocks of a warpgroup; nil where the tile does not divide.
    private var wholeRowBlocks: Int? {
        let owners = isPingPong ? 1 : consumers
        guard tileM > 0, owners > 0, tileM % (64 * owners) == 0 else { return nil }
        return tileM / (64 * owners)
    }

    func isLegal(_ key: TuningKey) -> Bool {
        let outputs: [DType] = [.bfloat16, .float16, .float32]
        guard key.sizes.count == 3, key.sizes.allSatisfy({ $0 > 0 }), key.inputType != .float32, outputs.contains(key.outputType),
            let rowBlocks = wholeRowBlocks, (16...256).contains(tileN), tileN % 32 == 0, (2...8).contains(stages), (1...3).contains(consumers),
            !isPingPong || consumers == 2, (1...2).contains(clusterM), (1...1024).contains(group), (1...16).contains(staging)
        else { return false }
        // fp32 sums that a thread holds; fp8 adds the tensor cores' sums of 128 to them. Registers are 232 for two warpgroups, 160 for three.
        let isFloat8 = key.inputType == .float8E4M3 && key.operation != "fp8GemmFast"
        let sums = rowBlocks * tileN / 2 + (isFloat8 ? tileN / 2 : 0)
        guard sums <= (consumers < 3 ? 192 : isFloat8 ? 128 : 96), !isFloat8 || rowBlocks == 1 else { return false }
        let shape = HopperGEMMShape(self, output: key.outputType, isGated: key.operation == "gatedMLP", storesDirectly: false)
        return shape.sharedByteCount <= HopperGEMMShape.sharedByteLimit
    }
}
