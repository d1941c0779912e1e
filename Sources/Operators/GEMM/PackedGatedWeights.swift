import CUDA
import Foundation
public import Tensors

/// The weights of a gated MLP as its kernels read them: eight rows of gate, eight of up, and so on, padded with zero rows to whole eights.
///
/// Every path of ``OperatorContext/gatedMLP(_:weights:activation:path:into:)`` takes them where they are. Made once; later changes of gate and up do not
/// reach them.
public struct PackedGatedWeights: Sendable {
    /// [I / 8 rounded up, 2, 8, H].
    public let tensor: DeviceTensor
    /// I.
    public let intermediateSize: Int
    /// H.
    public var hiddenSize: Int { tensor.shape[3] }

    /// Weights that lie on the GPU in this form already.
    package init(_ tensor: DeviceTensor, intermediateSize: Int) {
        self.tensor = tensor
        self.intermediateSize = intermediateSize
    }

    /// Packs weights of the host, [I, H] each, and uploads them.
    public init(gate: HostTensor, up: HostTensor, on context: OperatorContext) throws(OperatorError) {
        try Self.check(gate, up, on: .host)
        let row = gate.shape[1] * gate.dtype.byteCount
        let groups = (gate.shape[0] + 7) / 8
        var bytes = Data()
        bytes.reserveCapacity(groups * 16 * row)
        for group in 0..<groups {
            for source in [gate.data, up.data] {
                let first = source.startIndex + group * 8 * row
                let rows = min(8, gate.shape[0] - group * 8)
                bytes.append(source[first..<first + rows * row])
                bytes.append(Data(count: (8 - rows) * row))
            }
        }
        let packed = try OperatorError.wrapFile("gatedMLP") { () throws(TensorError) in
            try HostTensor(dtype: gate.dtype, shape: [groups, 2, 8, gate.shape[1]], data: bytes)
        }
        self.init(try context.upload(packed), intermediateSize: gate.shape[0])
    }

    static func check(_ gate: any TensorArgument, _ up: any TensorArgument, on place: TensorPlace) throws(OperatorError) {
        let check = ArgumentCheck("gatedMLP", on: place)
        let (gate, up) = (Operand("gate", gate), Operand("up", up))
        try check.places(gate, up)
        try check.type(gate, ArgumentCheck.floats)
        try check.sameType(up, as: gate)
        try check.contiguous(gate, up)
        try check.rank(gate, 2...2, "[intermediate, hidden]")
        try check.shape(up, gate.tensor.shape, "as gate")
    }

    /// What gate and up look like to the checks.
    var description: TensorDescription {
        TensorDescription(tensor.dtype, [intermediateSize, hiddenSize], on: tensor.place)
    }
}

extension OperatorContext {
    /// Packs weights on the GPU, [I, H] each: a copy for every eight rows, so for once and not for every call.
    public func packGatedWeights(gate: DeviceTensor, up: DeviceTensor) throws(OperatorError) -> PackedGatedWeights {
        try PackedGatedWeights.check(gate, up, on: place)
        let (rows, hidden) = (gate.shape[0], gate.shape[1])
        let packed = try tensor(gate.dtype, [(rows + 7) / 8, 2, 8, hidden])
        let row = hidden * gate.dtype.byteCount
        try OperatorError.wrap("gatedMLP") { () throws(CUDAError) in
            if rows % 8 != 0 { try stream.fill(packed.region) }
            for (half, source) in [gate, up].enumerated() {
                for group in 0..<packed.shape[0] {
                    let count = min(8, rows - group * 8) * row
                    try stream.copy(
                        source.region.slice(at: group * 8 * row, byteCount: count),
                        to: packed.region.slice(at: (group * 2 + half) * 8 * row, byteCount: count))
                }
            }
        }
        return PackedGatedWeights(packed, intermediateSize: rows)
    }

    /// ``gatedMLP(_:gate:up:activation:path:into:)`` with packed weights: the fastest form on every path.
    public func gatedMLP(
        _ x: DeviceTensor, weights: PackedGatedWeights, activation: Activation = .silu, path: KernelPath = .automatic,
        into output: DeviceTensor? = nil
    ) throws(OperatorError) -> DeviceTensor {
        let problem = try GEMMProblem(
            gatedMLP: x, gate: weights.description, up: weights.description, activation: activation, on: place)
        try check(path, "gatedMLP")
        return try launch(problem, path, GEMMArguments(a: x, b: weights.tensor, isPacked: true, output: output))
    }
}
