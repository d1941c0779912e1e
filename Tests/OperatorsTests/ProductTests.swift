import Foundation
import Operators
import Tensors
import Testing

@Suite struct ProductTests {
    @Test func productWithEpilogue() throws {
        let c = try CPUReference.gemm(
            Goldens.tensor("gemm.a"), Goldens.tensor("gemm.b"), bias: Goldens.tensor("gemm.bias"), activation: .geluTanh,
            residual: Goldens.tensor("gemm.residual"))
        try expect(c, equals: Goldens.tensor("gemm.c"))
    }

    @Test(arguments: Activation.allCases)
    func gatedMLP(activation: Activation) throws {
        let (x, gate, up) = (try Goldens.tensor("mlp.x"), try Goldens.tensor("mlp.gate"), try Goldens.tensor("mlp.up"))
        let y = try CPUReference.gatedMLP(x, gate: gate, up: up, activation: activation)
        #expect(y.shape == [2, 3, 13])
        try expect(y, equals: Goldens.tensor("mlp.\(activation.rawValue)"))
        // The three differ by more than the tolerance.
        for other in Activation.allCases where other != activation {
            let golden = try Goldens.tensor("mlp.\(other.rawValue)")
            #expect(try !Comparison(y, golden, Tolerance(absolute: 1e-6, relative: 0x1p-10)).passes)
        }
    }

    /// The activation is on the gate.
    @Test func theActivationIsNotOnTheOtherHalf() throws {
        let (x, gate, up) = (try Goldens.tensor("mlp.x"), try Goldens.tensor("mlp.gate"), try Goldens.tensor("mlp.up"))
        let wrong = try Goldens.tensor("mlp.wrong")
        let y = try CPUReference.gatedMLP(x, gate: gate, up: up)
        #expect(try !Comparison(y, wrong, Tolerance(absolute: 1e-2, relative: 1e-1)).passes)
        let exchanged = try CPUReference.gatedMLP(x, gate: up, up: gate)
        try expect(exchanged, equals: wrong)
    }

    @Test func activationsByName() throws {
        #expect(try Activation(named: "gelu_pytorch_tanh") == .geluTanh)
        #expect(try Activation(named: "gelu") == .geluErf)
        #expect(try Activation(named: "swish") == .silu)
        let error = errorOf { _ = try Activation(named: "relu") }
        #expect(error?.code == .argument)
        #expect(error?.message.contains("relu") == true)
    }

    @Test func float8Product() throws {
        let (sa, sb) = (try Goldens.tensor("fp8gemm.sa"), try Goldens.tensor("fp8gemm.sb"))
        let a = Quantized(codes: try Goldens.codes("fp8gemm.a", .float8E4M3), scales: sa, granularity: .row)
        let b = Quantized(codes: try Goldens.codes("fp8gemm.b", .float8E4M3), scales: sb, granularity: .tensor)
        let bias = try Goldens.tensor("fp8gemm.bias")
        let golden = try Goldens.tensor("fp8gemm.c")
        let c = try CPUReference.fp8Gemm(a, b, bias: bias, outputType: .float32)
        try expect(c, equals: golden)
        // With scales given apart, and the results genuinely in their types.
        let apart = try CPUReference.fp8Gemm(a.codes, scale: sa, b.codes, scale: sb, bias: bias, outputType: .float32)
        #expect(apart.bytes == c.bytes)
        for type in [DType.bfloat16, .float16] {
            let rounded = try CPUReference.fp8Gemm(a, b, bias: bias, outputType: type)
            #expect(try rounded.bytes == HostTensor(c.float32(), shape: c.shape, as: type).bytes)
        }
    }

    /// Against the product of what was quantised.
    @Test func float8ProductOfValues() throws {
        let (a, b) = (try HostTensor.ramp([17, 200]), try HostTensor.ramp([23, 200], step: 0.21))
        let exact = try CPUReference.gemm(a, b).float32()
        let c = try CPUReference.fp8Gemm(a, b, outputType: .float32).float32()
        let products = zip(exact, c).reduce(into: (0.0, 0.0, 0.0)) { sums, pair in
            let (x, y) = (Double(pair.0), Double(pair.1))
            sums = (sums.0 + x * y, sums.1 + x * x, sums.2 + y * y)
        }
        #expect(products.0 / (products.1 * products.2).squareRoot() > 0.999)
    }

    @Test func emptyInnerSizeGivesZeros() throws {
        let (a, b) = (try HostTensor([], shape: [3, 0]), try HostTensor([], shape: [4, 0]))
        #expect(try CPUReference.gemm(a, b).float32() == [Float](repeating: 0, count: 12))
        #expect(try CPUReference.gemm(a, b, bias: HostTensor([1, 2, 3, 4], shape: [4])).float32() == [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4])
    }

    /// The tensor cores' own sums are off by more than a result near zero forgives, whatever its type: they have to be asked for.
    @Test func sumsAreExactUnlessFastOnesAreAskedFor() {
        for k in [129, 640, 960, 2048, 2049, 8192] {
            #expect(Float8Accumulation.automatic.promotes(k: k))
            #expect(Float8Accumulation.exact.promotes(k: k))
            #expect(!Float8Accumulation.fast.promotes(k: k))
        }
        #expect(!Float8Accumulation.automatic.promotes(k: 128))
    }

    @Test func aNaNStaysInItsRow() throws {
        var values = try HostTensor.ramp([4, 9]).float32()
        values[2 * 9] = .nan
        let y = try CPUReference.gatedMLP(
            HostTensor(values, shape: [4, 9]), gate: HostTensor.ramp([6, 9]), up: HostTensor.ramp([6, 9], step: 0.2))
        for (index, number) in try y.float32().enumerated() { #expect(number.isNaN == (index / 6 == 2)) }
    }
}
