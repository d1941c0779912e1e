import Foundation
import Operators
import Tensors
import Testing

@Suite struct QuantizationTests {
    @Test(arguments: Float8Format.allCases, QuantizationGranularity.allCases)
    func bitForBit(format: Float8Format, granularity: QuantizationGranularity) throws {
        let x = try Goldens.tensor("fp8.x")
        let result = try CPUReference.quantize(x, format: format, granularity: granularity)
        let name = "fp8.\(format.rawValue).\(granularity.rawValue)"
        #expect(try result.codes.bytes == Goldens.tensor("\(name).codes").bytes)
        #expect(try result.scales.bytes == Goldens.tensor("\(name).scales").bytes)
        #expect(result.codes.dtype == format.dtype)
        // Half a step of a mantissa of three bits is a sixteenth of a value; of two, an eighth.
        let back = try CPUReference.dequantize(result)
        let tolerance = Tolerance(absolute: 0.02, relative: format == .e4m3 ? 1.0 / 16 + 1e-6 : 1.0 / 8 + 1e-6)
        #expect(try Comparison(back, x, tolerance).passes)
    }

    /// A million casts, as PyTorch makes them.
    @Test(arguments: [(Float8Format.e4m3, Float8Overflow.saturate), (.e5m2, .propagate)])
    func aMillionCasts(format: Float8Format, overflow: Float8Overflow) throws {
        var state: UInt64 = 42
        let values = (0..<1 << 20).map { index -> Float in
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            var bits = UInt32(truncatingIfNeeded: (mixed ^ (mixed >> 31)) >> 32)
            if index % 2 == 0 { bits = (bits & 0x807F_FFFF) | ((107 + (bits >> 23) % 40) << 23) }
            let value = Float(bitPattern: bits)
            return value.isNaN ? 0 : value
        }
        let x = try HostTensor(values, shape: [1 << 10, 1 << 10])
        let codes = try CPUReference.quantize(x, scales: HostTensor([1], shape: [1]), format: format, overflow: overflow).codes.bytes
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in codes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        let golden = try Goldens.tensor("casts.\(format.rawValue)").bytes.enumerated().reduce(UInt64(0)) {
            $0 | UInt64($1.element) << (8 * UInt64($1.offset))
        }
        #expect(hash == golden)
    }

    @Test(arguments: Float8Format.allCases)
    func everyCodeComesBack(format: Float8Format) throws {
        let codes = try HostTensor(dtype: format.dtype, shape: [16, 16], data: Data(0...255))
        let one = try HostTensor([1], shape: [1])
        let values = try CPUReference.dequantize(Quantized(codes: codes, scales: one, granularity: .tensor))
        let again = try CPUReference.quantize(values, scales: one, format: format, overflow: .propagate).codes
        for (code, (value, result)) in zip(codes.bytes, zip(try values.float32(), again.bytes)) {
            #expect(value.isNaN ? result & 0x7F == 0x7F : result == code, "code \(code)")
        }
    }

    @Test func beyondTheFormat() throws {
        let x = try HostTensor([1e5, -1e5, .infinity, .nan, 448, 464, 465], shape: [7])
        let one = try HostTensor([1], shape: [1])
        #expect(try CPUReference.quantize(x, scales: one).codes.bytes == [0x7E, 0xFE, 0x7E, 0x7F, 0x7E, 0x7E, 0x7E])
        #expect(try CPUReference.quantize(x, scales: one, overflow: .propagate).codes.bytes == [0x7F, 0xFF, 0x7F, 0x7F, 0x7E, 0x7E, 0x7F])
        #expect(try CPUReference.quantize(x, scales: one, format: .e5m2, overflow: .propagate).codes.bytes.prefix(3) == [0x7C, 0xFC, 0x7C])
    }

    @Test(arguments: QuantizationGranularity.allCases)
    func zerosHaveTheScaleOne(granularity: QuantizationGranularity) throws {
        let result = try CPUReference.quantize(HostTensor.constant(0, [3, 5]), granularity: granularity)
        #expect(try result.scales.float32().allSatisfy { $0 == 1 })
        #expect(result.codes.bytes.allSatisfy { $0 == 0 })
    }

    @Test func aNaNDoesNotSpoilTheScale() throws {
        let result = try CPUReference.quantize(HostTensor([.nan, 448, 0, -224], shape: [2, 2]))
        #expect(try result.scales.float32() == [1])
        #expect(result.codes.bytes[0] & 0x7F == 0x7F)
        #expect(result.codes.bytes[1] == 0x7E)
    }

    /// A value that fits no scale that was tried is told.
    @Test func overflowIsHandledOrTold() throws {
        let x = try HostTensor([1, -2, 1e5], shape: [3])
        let fitting = try CPUReference.quantizeHandlingOverflow(x, scale: 100, maximumAttempts: 3)
        #expect(try fitting.scales.float32() == [400])
        #expect(try CPUReference.quantizeHandlingOverflow(x, maximumAttempts: 1).scales.float32()[0] < 224)
        let error = errorOf { _ = try CPUReference.quantizeHandlingOverflow(x, scale: 1, maximumAttempts: 3) }
        #expect(error?.code == .overflow)
        #expect(error?.overflow == OperatorError.Overflow(maximum: 1e5, scale: 4, attempts: 3))
        let endless = errorOf {
            _ = try CPUReference.quantizeHandlingOverflow(HostTensor([.infinity], shape: [1]), scale: 1, maximumAttempts: 1000)
        }
        #expect(endless?.overflow?.attempts == 1)
    }

    @Test(arguments: [0, -1, Float.nan, .infinity])
    func scalesMustBePositive(scale: Float) throws {
        let x = try HostTensor([1, 2], shape: [2])
        #expect(errorOf { _ = try CPUReference.quantize(x, scales: HostTensor([scale], shape: [1])) }?.code == .scale)
        #expect(errorOf { _ = try CPUReference.quantizeHandlingOverflow(x, scale: scale) }?.code == .scale)
        let codes = Quantized(
            codes: try HostTensor([1, 2], shape: [1, 2], as: .float8E4M3), scales: try HostTensor([scale], shape: [1]),
            granularity: .tensor)
        let error = errorOf { _ = try CPUReference.fp8Gemm(codes, codes) }
        #expect(error?.code == .scale)
        #expect(error?.tensor == "the scales of a[0]")
    }
}
