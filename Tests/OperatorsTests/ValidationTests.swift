import CUDA
import Foundation
import Operators
import Tensors
import Testing

/// Every fault, through the checks that the CPU reference and the launches share, with the fields of its error.
@Suite struct ValidationTests {
    struct Fault: Sendable, CustomTestStringConvertible {
        let title: String
        let code: OperatorError.Code
        let tensor: String?
        /// A part of the message.
        let says: String
        let work: @Sendable () throws -> Void

        init(_ title: String, _ code: OperatorError.Code, _ tensor: String?, says: String, _ work: @escaping @Sendable () throws -> Void) {
            self.title = title
            self.code = code
            self.tensor = tensor
            self.says = says
            self.work = work
        }

        var testDescription: String { title }
    }

    @Test(arguments: norms + products + gatedProducts + float8 + quantizations + attentions + samplings)
    func refused(fault: Fault) throws {
        let error = try #require(errorOf(fault.work))
        #expect(error.code == fault.code)
        #expect(error.tensor == fault.tensor)
        #expect(error.message.contains(fault.says), "\(error.message)")
        #expect(error.message.hasPrefix(error.operation))
        if error.code == .dataType { #expect(!error.supportedTypes.isEmpty) }
        if error.code != .unavailable { #expect(error.expected != nil && error.actual != nil) }
    }

    // MARK: Tensors without elements

    private static let gpu = TensorPlace.device(0)

    private static func tensor(_ shape: [Int], _ dtype: DType = .bfloat16, strides: [Int]? = nil, on place: TensorPlace = gpu) -> TensorDescription {
        TensorDescription(dtype, shape, strides: strides, on: place)
    }

    // MARK: Norms

    private static func rope(
        x: TensorDescription = tensor([2, 7, 64]), weight: TensorDescription = tensor([64]), cosine: TensorDescription = tensor([7, 16]),
        sine: TensorDescription = tensor([7, 16]), positions: Int? = nil, scope: NormScope = .row, heads: Int? = nil, epsilon: Float = 1e-6
    ) throws {
        _ = try NormProblem(
            rmsNormRoPE: x, weight: weight, cosine: cosine, sine: sine, positionCount: positions, scope: scope, headCount: heads,
            epsilon: epsilon, unitOffset: false, on: gpu)
    }

    static let norms: [Fault] = [
        Fault("x on the CPU", .device, "x", says: "cpu") { try rope(x: tensor([2, 7, 64], on: .host)) },
        Fault("weight on another GPU", .device, "weight", says: "cuda:1") { try rope(weight: tensor([64], on: .device(1))) },
        Fault("sine on another GPU", .device, "sine", says: "cuda:1") { try rope(sine: tensor([7, 16], on: .device(1))) },
        Fault("x of integers", .dataType, "x", says: "int32") { try rope(x: tensor([2, 7, 64], .int32)) },
        Fault("x of codes", .dataType, "x", says: "float8") { try rope(x: tensor([2, 7, 64], .float8E4M3)) },
        Fault("weight of doubles", .dataType, "weight", says: "float64") { try rope(weight: tensor([64], .float64)) },
        Fault("tables of two types", .dataType, "sine", says: "cosine") { try rope(sine: tensor([7, 16], .float32)) },
        Fault("x with gaps in its rows", .layout, "x", says: "strides") { try rope(x: tensor([2, 7, 64], strides: [896, 128, 2])) },
        Fault("x transposed", .layout, "x", says: "strides") { try rope(x: tensor([2, 7, 64], strides: [64, 128, 1])) },
        Fault("weight with gaps", .layout, "weight", says: "contiguous") { try rope(weight: tensor([64], strides: [2])) },
        Fault("cosine with gaps", .layout, "cosine", says: "contiguous") { try rope(cosine: tensor([7, 16], strides: [32, 1])) },
        Fault("x of one dimension", .shape, "x", says: "[..., tokens, hidden]") { try rope(x: tensor([64])) },
        Fault("x of two dimensions by head", .shape, "x", says: "head size") { try rope(x: tensor([7, 16]), weight: tensor([16]), scope: .head) },
        Fault("weight of two dimensions", .shape, "weight", says: "[hidden]") { try rope(weight: tensor([1, 64])) },
        Fault("weight too short", .shape, "weight", says: "[64]") { try rope(weight: tensor([63])) },
        Fault("tables too short", .shape, "cosine", says: "[7, 16]") { try rope(cosine: tensor([6, 16]), sine: tensor([6, 16])) },
        Fault("tables too long", .shape, "cosine", says: "[7, 16]") { try rope(cosine: tensor([8, 16]), sine: tensor([8, 16])) },
        Fault("tables of four dimensions too short", .shape, "cosine", says: "[7, 16]") {
            try rope(cosine: tensor([1, 6, 1, 16]), sine: tensor([1, 6, 1, 16]))
        },
        Fault("tables of three dimensions", .shape, "cosine", says: "[1, tokens, 1, head size]") { try rope(cosine: tensor([1, 7, 16])) },
        Fault("sine of another shape", .shape, "sine", says: "[7, 16]") { try rope(sine: tensor([7, 32])) },
        Fault("head size that does not divide", .shape, "cosine", says: "divides 64") {
            try rope(cosine: tensor([7, 24]), sine: tensor([7, 24]))
        },
        Fault("odd head size", .argument, "the head size", says: "even") {
            try rope(x: tensor([7, 63]), weight: tensor([63]), cosine: tensor([7, 9]), sine: tensor([7, 9]))
        },
        Fault("head size 0", .argument, "the head size", says: "even") { try rope(cosine: tensor([7, 0]), sine: tensor([7, 0])) },
        Fault("heads * D is not H", .argument, "the number of heads", says: "3") { try rope(heads: 3) },
        Fault("no heads", .argument, "the number of heads", says: "0") { try rope(heads: 0) },
        Fault("heads beyond all bounds", .argument, "the number of heads", says: "\(Int.max)") { try rope(heads: .max) },
        Fault("epsilon 0", .argument, "epsilon", says: "0.0") { try rope(epsilon: 0) },
        Fault("epsilon below 0", .argument, "epsilon", says: "-1") { try rope(epsilon: -1) },
        Fault("epsilon NaN", .argument, "epsilon", says: "nan") { try rope(epsilon: .nan) },
        Fault("positions too few", .shape, "positions", says: "[14]") { try rope(positions: 7) },
        Fault("tokens beyond 32 bits", .argument, "the number of rows", says: "\(Int32.max)") {
            try rope(x: tensor([1 << 26, 64, 64]), cosine: tensor([64, 16]), sine: tensor([64, 16]))
        },
        Fault("norm of a scalar", .shape, "x", says: "[..., hidden]") {
            _ = try NormProblem(rmsNorm: tensor([]), weight: tensor([1]), epsilon: 1e-6, unitOffset: false, on: gpu)
        },
        Fault("residual of another type", .dataType, "residual", says: "float16") {
            _ = try NormProblem(
                rmsNorm: tensor([2, 8]), weight: tensor([8]), residual: tensor([2, 8], .float16), epsilon: 1e-6, unitOffset: false, on: gpu)
        },
        Fault("residual of another shape", .shape, "residual", says: "[2, 8]") {
            _ = try NormProblem(
                rmsNorm: tensor([2, 8]), weight: tensor([8]), residual: tensor([8]), epsilon: 1e-6, unitOffset: false, on: gpu)
        },
    ]

    /// Device before type before layout before rank before sizes before numbers.
    @Test func theOrderOfTheChecks() throws {
        let everything = TensorDescription(.int32, [1], strides: [2], on: .device(1))
        func error(_ x: TensorDescription) -> OperatorError? { errorOf { try Self.rope(x: x, epsilon: 0) } }
        #expect(error(everything)?.code == .device)
        #expect(error(TensorDescription(.int32, [7, 64], strides: [128, 2], on: Self.gpu))?.code == .dataType)
        #expect(error(TensorDescription(.bfloat16, [1, 7, 63], strides: [896, 128, 2], on: Self.gpu))?.code == .layout)
        #expect(error(TensorDescription(.bfloat16, [64], on: Self.gpu))?.code == .shape)
        #expect(error(TensorDescription(.bfloat16, [7, 64], on: Self.gpu))?.code == .argument)
    }

    // MARK: Products

    private static func gemm(
        _ a: TensorDescription = tensor([3, 8]), _ b: TensorDescription = tensor([5, 8]), bias: TensorDescription? = nil,
        residual: TensorDescription? = nil, outputType: DType? = nil
    ) throws {
        _ = try GEMMProblem(gemm: a, b, bias: bias, activation: nil, residual: residual, outputType: outputType, on: gpu)
    }

    static let products: [Fault] = [
        Fault("a on the CPU", .device, "a", says: "cpu") { try gemm(tensor([3, 8], on: .host)) },
        Fault("bias on the CPU", .device, "bias", says: "cpu") { try gemm(bias: tensor([5], .float32, on: .host)) },
        Fault("a of codes", .dataType, "a", says: "float8") { try gemm(tensor([3, 8], .float8E4M3)) },
        Fault("two types", .dataType, "b", says: "float16") { try gemm(tensor([3, 8]), tensor([5, 8], .float16)) },
        Fault("bias of bf16", .dataType, "bias", says: "float32") { try gemm(bias: tensor([5])) },
        Fault("fp32 to bf16", .dataType, "output", says: "float32") {
            try gemm(tensor([3, 8], .float32), tensor([5, 8], .float32), outputType: .bfloat16)
        },
        Fault("to integers", .dataType, "output", says: "int8") { try gemm(outputType: .int8) },
        Fault("residual of another type", .dataType, "residual", says: "bfloat16") { try gemm(residual: tensor([3, 5], .float32)) },
        Fault("b transposed", .layout, "b", says: "strides") { try gemm(tensor([3, 8]), tensor([5, 8], strides: [1, 5])) },
        Fault("a with gaps in its rows", .layout, "a", says: "strides") { try gemm(tensor([3, 8], strides: [16, 2])) },
        Fault("b of one dimension", .shape, "b", says: "[N, K]") { try gemm(tensor([3, 8]), tensor([8])) },
        Fault("inner sizes that differ", .shape, "b", says: "[N, 8]") { try gemm(tensor([3, 8]), tensor([5, 9])) },
        Fault("bias too long", .shape, "bias", says: "[5]") { try gemm(bias: tensor([6], .float32)) },
        Fault("residual of another shape", .shape, "residual", says: "[3, 5]") { try gemm(residual: tensor([5, 3])) },
        Fault("rows beyond 32 bits", .argument, "the number of rows of a", says: "\(Int32.max)") {
            try gemm(tensor([1 << 20, 1 << 12, 8]))
        },
    ]

    private static func mlp(
        _ x: TensorDescription = tensor([3, 8]), _ gate: TensorDescription = tensor([6, 8]), _ up: TensorDescription = tensor([6, 8])
    ) throws {
        _ = try GEMMProblem(gatedMLP: x, gate: gate, up: up, activation: .silu, on: gpu)
    }

    static let gatedProducts: [Fault] = [
        Fault("up on another GPU", .device, "up", says: "cuda:1") { try mlp(tensor([3, 8]), tensor([6, 8]), tensor([6, 8], on: .device(1))) },
        Fault("up of another type", .dataType, "up", says: "float16") { try mlp(tensor([3, 8]), tensor([6, 8]), tensor([6, 8], .float16)) },
        Fault("gate with gaps", .layout, "gate", says: "contiguous") { try mlp(tensor([3, 8]), tensor([6, 8], strides: [16, 1])) },
        Fault("gate of one dimension", .shape, "gate", says: "[intermediate, hidden]") { try mlp(tensor([3, 8]), tensor([8])) },
        Fault("gate of another width", .shape, "gate", says: "[intermediate, 8]") { try mlp(tensor([3, 8]), tensor([6, 7]), tensor([6, 7])) },
        Fault("up of another height", .shape, "up", says: "[6, 8]") { try mlp(tensor([3, 8]), tensor([6, 8]), tensor([7, 8])) },
    ]

    // MARK: fp8

    private static func float8(
        _ a: TensorDescription = tensor([3, 16], .float8E4M3), scales: TensorDescription = tensor([3], .float32),
        _ granularity: QuantizationGranularity = .row, _ b: TensorDescription = tensor([5, 16], .float8E4M3), outputType: DType = .bfloat16
    ) throws {
        _ = try GEMMProblem(
            fp8Gemm: Quantized(codes: a, scales: scales, granularity: granularity),
            Quantized(codes: b, scales: tensor([1], .float32), granularity: .tensor), bias: nil, outputType: outputType, on: gpu)
    }

    static let float8: [Fault] = [
        Fault("scales on the CPU", .device, "the scales of a", says: "cpu") { try float8(scales: tensor([3], .float32, on: .host)) },
        Fault("codes of bytes", .dataType, "a", says: "uint8") { try float8(tensor([3, 16], .uint8)) },
        Fault("codes of E5M2", .dataType, "a", says: "e5m2") { try float8(tensor([3, 16], .float8E5M2)) },
        Fault("scales of bf16", .dataType, "the scales of a", says: "float32") { try float8(scales: tensor([3])) },
        Fault("to codes", .dataType, "output", says: "float8") { try float8(outputType: .float8E4M3) },
        Fault("scales too few", .shape, "the scales of a", says: "[3]") { try float8(scales: tensor([1], .float32)) },
        Fault("one scale too many", .shape, "the scales of a", says: "[1]") { try float8(scales: tensor([3], .float32), .tensor) },
        Fault("scales for columns", .argument, "the scales of a", says: "column") { try float8(scales: tensor([16], .float32), .column) },
        Fault("inner sizes that differ", .shape, "b", says: "[N, 16]") {
            try float8(tensor([3, 16], .float8E4M3), tensor([5, 17], .float8E4M3))
        },
        Fault("codes without their scale", .missingScale, "b", says: "scale") {
            let a = try HostTensor.ramp([3, 16])
            _ = try CPUReference.fp8Gemm(a, HostTensor.ramp([5, 16], .float8E4M3))
        },
    ]

    private static func float8(_ a: TensorDescription, _ b: TensorDescription) throws { try float8(a, scales: tensor([3], .float32), .row, b) }

    static let quantizations: [Fault] = [
        Fault("x of codes", .dataType, "x", says: "float8") {
            _ = try QuantizationProblem(
                quantize: tensor([3, 4], .float8E5M2), scales: nil, format: .e4m3, granularity: .row, on: gpu)
        },
        Fault("x transposed", .layout, "x", says: "strides") {
            _ = try QuantizationProblem(
                quantize: tensor([3, 4], strides: [1, 3]), scales: nil, format: .e4m3, granularity: .row, on: gpu)
        },
        Fault("a scalar", .shape, "x", says: "[..., columns]") {
            _ = try QuantizationProblem(quantize: tensor([]), scales: nil, format: .e4m3, granularity: .row, on: gpu)
        },
        Fault("scales for rows that are columns", .shape, "scales", says: "[3]") {
            _ = try QuantizationProblem(
                quantize: tensor([3, 4]), scales: tensor([4], .float32), format: .e4m3, granularity: .row, on: gpu)
        },
        Fault("scales of another type", .dataType, "scales", says: "float32") {
            _ = try QuantizationProblem(quantize: tensor([3, 4]), scales: tensor([3]), format: .e4m3, granularity: .row, on: gpu)
        },
        Fault("codes of bytes", .dataType, "codes", says: "uint8") {
            _ = try QuantizationProblem(
                dequantize: Quantized(codes: tensor([3, 4], .uint8), scales: tensor([3], .float32), granularity: .row), as: .bfloat16,
                on: gpu)
        },
        Fault("to integers", .dataType, "output", says: "int32") {
            _ = try QuantizationProblem(
                dequantize: Quantized(codes: tensor([3, 4], .float8E4M3), scales: tensor([3], .float32), granularity: .row), as: .int32,
                on: gpu)
        },
        Fault("no attempts", .argument, "the number of attempts", says: "0") {
            _ = try CPUReference.quantizeHandlingOverflow(HostTensor.ramp([3]), maximumAttempts: 0)
        },
    ]

    // MARK: Attention and sampling

    private static func attention(
        _ q: TensorDescription = tensor([9, 4, 64]), _ k: TensorDescription = tensor([9, 2, 64]), _ v: TensorDescription = tensor([9, 2, 64]),
        lengths: SequenceLengths? = nil, mask: AttentionMask = .causal, scale: Float? = nil
    ) throws {
        _ = try AttentionProblem(q, k, v, lengths: lengths, mask: mask, scale: scale, on: gpu)
    }

    static let attentions: [Fault] = [
        Fault("v on the CPU", .device, "v", says: "cpu") { try attention(tensor([9, 4, 64]), tensor([9, 2, 64]), tensor([9, 2, 64], on: .host)) },
        Fault("k of another type", .dataType, "k", says: "float16") { try attention(tensor([9, 4, 64]), tensor([9, 2, 64], .float16)) },
        Fault("q with heads apart", .layout, "q", says: "strides") { try attention(tensor([9, 4, 64], strides: [1024, 128, 1])) },
        Fault("q of two dimensions", .shape, "q", says: "heads") { try attention(tensor([9, 64])) },
        Fault("k of four dimensions", .shape, "k", says: "as many") {
            try attention(tensor([9, 4, 64]), tensor([1, 9, 2, 64]), tensor([1, 9, 2, 64]))
        },
        Fault("head sizes that differ", .shape, "k", says: "64") { try attention(tensor([9, 4, 64]), tensor([9, 2, 32]), tensor([9, 2, 32])) },
        Fault("heads that do not divide", .shape, "k", says: "divides") {
            try attention(tensor([9, 4, 64]), tensor([9, 3, 64]), tensor([9, 3, 64]))
        },
        Fault("no key heads", .shape, "k", says: "divides") { try attention(tensor([9, 4, 64]), tensor([9, 0, 64]), tensor([9, 0, 64])) },
        Fault("v of another shape", .shape, "v", says: "[9, 2, 64]") { try attention(tensor([9, 4, 64]), tensor([9, 2, 64]), tensor([8, 2, 64])) },
        Fault("batches that differ", .shape, "k", says: "batch") {
            try attention(tensor([2, 9, 4, 64]), tensor([3, 9, 2, 64]), tensor([3, 9, 2, 64]))
        },
        Fault("lengths that are too short", .argument, "the lengths of queries", says: "9") { try attention(lengths: SequenceLengths([4, 4])) },
        Fault("lengths that are too long", .argument, "the lengths of queries", says: "9") { try attention(lengths: SequenceLengths([.max, .max])) },
        Fault("a length below 0", .argument, "the lengths of queries", says: "-1") { try attention(lengths: SequenceLengths([3, -1, 7])) },
        Fault("lengths of keys too few", .argument, "the lengths", says: "1 and 2") {
            try attention(lengths: SequenceLengths(queries: [4, 5], keys: [9]))
        },
        Fault("lengths beside a batch", .argument, "the lengths", says: "batch") {
            try attention(tensor([1, 9, 4, 64]), tensor([1, 9, 2, 64]), tensor([1, 9, 2, 64]), lengths: SequenceLengths([9]))
        },
        Fault("a window of nothing", .argument, "the window", says: "0") { try attention(mask: .window(0)) },
        Fault("a mask below 0", .argument, "the mask", says: "-1") { try attention(mask: .around(left: -1, right: 2)) },
        Fault("a scale that is no number", .argument, "the scale", says: "nan") { try attention(scale: .nan) },
    ]

    static let samplings: [Fault] = [
        Fault("softmax on the CPU", .device, "x", says: "cpu") { _ = try RowProblem("softmax", tensor([3, 4], on: .host), on: gpu) },
        Fault("softmax of integers", .dataType, "x", says: "int32") { _ = try RowProblem("softmax", tensor([3, 4], .int32), on: gpu) },
        Fault("softmax of a scalar", .shape, "x", says: "[..., columns]") { _ = try RowProblem("softmax", tensor([]), on: gpu) },
        Fault("top 5 of 4", .argument, "the number of entries", says: "0 to 4") { _ = try RowProblem("topK", tensor([3, 4]), count: 5, on: gpu) },
        Fault("top 2000", .argument, "the number of entries", says: "1024") { _ = try RowProblem("topK", tensor([3, 5000]), count: 2000, on: gpu) },
    ]

    // MARK: What the checks let through

    /// Slices of a fused projection, dimensions of one index with odd strides, leading dimensions.
    @Test func layoutsThatAreTaken() throws {
        try Self.rope(x: Self.tensor([2, 7, 64], strides: [7 * 192, 192, 1]))
        try Self.rope(x: Self.tensor([1, 7, 64], strides: [5, 64, 1]))
        try Self.rope(x: Self.tensor([3, 2, 7, 64]))
        try Self.rope(
            x: Self.tensor([14, 4, 16], strides: [192, 16, 1]), weight: Self.tensor([16]), cosine: Self.tensor([14, 16]),
            sine: Self.tensor([14, 16]), scope: .head, heads: 4)
        try Self.gemm(Self.tensor([2, 3, 8], strides: [60, 20, 1]))
        try Self.attention(Self.tensor([9, 4, 64], strides: [512, 64, 1]), Self.tensor([9, 2, 64], strides: [512, 64, 1]))
        _ = try NormProblem(
            rmsNorm: Self.tensor([14, 4, 16], strides: [192, 16, 1]), weight: Self.tensor([16]), epsilon: 1e-6, unitOffset: false, on: Self.gpu)
    }
}
