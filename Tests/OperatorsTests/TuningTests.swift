import Operators
import Tensors
import Testing

/// Spaces, legality and tables of choices, without a GPU.
@Suite struct TuningTests {
    static let keys = [
        TuningKey(operation: "gemm", inputType: .bfloat16, outputType: .bfloat16, sizes: [8192, 4096, 640]),
        TuningKey(operation: "gatedMLP", inputType: .bfloat16, outputType: .bfloat16, sizes: [8192, 2048, 640]),
        TuningKey(operation: "fp8Gemm", inputType: .float8E4M3, outputType: .bfloat16, sizes: [8192, 640, 2048]),
        TuningKey(operation: "rmsNorm", inputType: .bfloat16, outputType: .bfloat16, sizes: [640, 0]),
        TuningKey(operation: "rmsNormRoPE", inputType: .float16, outputType: .float16, sizes: [4096, 64]),
    ]

    @Test(arguments: keys)
    func theSpaceHoldsLegalChoicesOnly(key: TuningKey) throws {
        let all = OperatorTuning.space(key.operation).reduce(1) { $0 * $1.values.count }
        let legal = OperatorTuning.configurations(for: key)
        #expect(!legal.isEmpty && legal.count < all, "\(legal.count) of \(all)")
        #expect(Set(legal).count == legal.count)
        let table = TuningTable()
        for values in legal { try table.set(values, for: key) }
        #expect(table[key] == legal.last)
        #expect(table.keys == [key])
        table.removeAll()
        #expect(table[key] == nil)
    }

    @Test(arguments: keys)
    func theStandardChoiceIsLegal(key: TuningKey) throws {
        #expect(OperatorTuning.isLegal(try #require(OperatorTuning.standard(for: key)), for: key))
    }

    @Test func whatIsNotLegal() throws {
        let key = Self.keys[0]
        let standard = try #require(OperatorTuning.standard(for: key))
        for (name, value) in [
            ("tileM", 96), ("tileM", 0), ("tileN", 320), ("tileN", 0), ("stages", 7), ("consumers", 0), ("consumers", 3), ("clusterM", 3),
        ] {
            let values = standard.merging([name: value]) { $1 }
            #expect(!OperatorTuning.isLegal(values, for: key), "\(name) \(value)")
            #expect(errorOf { try TuningTable().set(values, for: key) }?.code == .argument)
        }
        #expect(!OperatorTuning.isLegal([:], for: key))
        #expect(!OperatorTuning.isLegal(standard.merging(["other": 1]) { $1 }, for: key))
        #expect(OperatorTuning.space("softmax").isEmpty)
        let scalar = TuningKey(operation: "gemm", inputType: .float32, outputType: .float32, sizes: [1, 1, 1])
        #expect(!OperatorTuning.isLegal(standard, for: scalar))
        for sizes in [[], [1, 2], [0, 1, 1], [-1, 2, 3]] {
            #expect(!OperatorTuning.isLegal(standard, for: TuningKey(operation: "gemm", inputType: .bfloat16, outputType: .bfloat16, sizes: sizes)))
        }
        let norm = Self.keys[4]
        for values in [
            ["lanes": 3, "rows": 1, "blocks": 1], ["lanes": 64, "rows": 2, "blocks": 1], ["lanes": 16, "rows": 1, "blocks": 1],
            ["lanes": 2048, "rows": 1, "blocks": 1],
        ] {
            #expect(!OperatorTuning.isLegal(values, for: norm), "\(values)")
        }
    }
}
