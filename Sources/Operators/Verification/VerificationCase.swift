import Tensors

/// One random case of one operator: what it is, what must come out, and how to run it on a GPU.
struct VerificationCase: Sendable {
    /// One part of the result.
    struct Expectation: Sendable {
        let name: String
        let values: [Double]
        let tolerance: Tolerance

        init(_ name: String, _ values: [Double], _ tolerance: Tolerance) {
            self.name = name
            self.values = values
            self.tolerance = tolerance
        }
    }

    let description: String
    let expected: [Expectation]
    /// The parts of the result, in the order of the expectations.
    let run: @Sendable (OperatorContext) throws(OperatorError) -> [HostTensor]
}

/// An operator that can be verified, with the generator of its cases.
struct VerifiedOperator: Sendable {
    let name: String
    let paths: [KernelPath]
    let make: @Sendable (inout SeededRandom, KernelPath) throws(OperatorError) -> VerificationCase

    init(
        _ name: String, paths: [KernelPath] = [.automatic],
        _ make: @escaping @Sendable (inout SeededRandom, KernelPath) throws(OperatorError) -> VerificationCase
    ) {
        self.name = name
        self.paths = paths
        self.make = make
    }

    /// In the order of the report.
    static let all =
        normCases + [gemm, floatGEMM, gatedMLP] + quantizationCases + [fp8Gemm, fp8Linear, attention] + samplingCases
}

extension SeededRandom {
    mutating func float16Type() -> DType { choose([.bfloat16, .float16]) }
    mutating func floatType() -> DType { choose([.bfloat16, .float16, .float32]) }

    /// Odd sizes first: those around the sizes of warps, vectors and tiles.
    mutating func size(upTo limit: Int) -> Int {
        let odd = [1, 2, 7, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 257, 511, 512, 513, 1000, 1025].filter { $0 <= limit }
        return chance(0.6) ? choose(odd) : integer(1...limit)
    }

    /// A tensor of the host on the GPU, sometimes as a part of wider rows, as a fused projection leaves it.
    mutating func plantsNaN() -> Bool { chance(0.1) }
}

extension HostTensor {
    /// The tensor with a NaN (or another number) at one place.
    func planting(_ value: Float, at index: Int) throws(OperatorError) -> HostTensor {
        var values = try CPUReference.floats("random", self)
        guard values.indices.contains(index) else { return self }
        values[index] = value
        return try OperatorError.wrapFile("random") { () throws(TensorError) in try HostTensor(values, shape: shape, as: dtype) }
    }
}

extension OperatorContext {
    /// Uploads a tensor [..., columns] into rows that are wider, in front of which and behind which NaNs lie.
    func uploadSlice(_ tensor: HostTensor, before: Int, after: Int) throws(OperatorError) -> DeviceTensor {
        let columns = tensor.shape[tensor.shape.count - 1]
        let rows = tensor.elementCount / max(1, columns)
        let values = try CPUReference.floats("random", tensor)
        var wide: [Float] = []
        wide.reserveCapacity(rows * (before + columns + after))
        for row in 0..<rows {
            wide += [Float](repeating: .nan, count: before)
            wide += values[row * columns..<(row + 1) * columns]
            wide += [Float](repeating: .nan, count: after)
        }
        let shape = Array(tensor.shape.dropLast()) + [before + columns + after]
        let host = try OperatorError.wrapFile("random") { () throws(TensorError) in try HostTensor(wide, shape: shape, as: tensor.dtype) }
        return try upload(host).slice(shape.count - 1, before..<before + columns)
    }
}
