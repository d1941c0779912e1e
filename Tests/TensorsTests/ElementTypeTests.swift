import Foundation
import Tensors
import Testing

/// The small floats against PyTorch's casts, bit for bit.
@Suite struct ElementTypeTests {
    private func casts() throws -> SafetensorsFile { try SafetensorsFile(contentsOf: TestFiles.golden("casts.safetensors")) }

    @Test func everyE4M3CodeWidens() throws {
        let expected = try casts().tensor("codes.e4m3").float32()
        for code in 0..<256 {
            let value = Float(Float8E4M3(bitPattern: UInt8(code)))
            #expect(value.bitPattern == expected[code].bitPattern || value.isNaN && expected[code].isNaN, "code \(code)")
            #expect(value.sign == (code < 128 ? .plus : .minus), "code \(code)")
            // What was widened narrows to the same code.
            #expect(Float8E4M3(value).bitPattern == UInt8(code))
        }
    }

    @Test func everyE5M2CodeWidens() throws {
        let expected = try casts().tensor("codes.e5m2").float32()
        for code in 0..<256 {
            let narrow = Float8E5M2(bitPattern: UInt8(code))
            let value = Float(narrow)
            #expect(value.bitPattern == expected[code].bitPattern || value.isNaN && expected[code].isNaN, "code \(code)")
            if !value.isNaN { #expect(Float8E5M2(value).bitPattern == UInt8(code)) }
            #expect(narrow.isNaN == value.isNaN)
            #expect(narrow.isInfinite == value.isInfinite)
        }
    }

    @Test func float8NarrowsAsPyTorch() throws {
        let file = try casts()
        let inputs = try file.tensor("float8.input").float32()
        let e4m3 = try file.tensor("float8.e4m3").data
        let e5m2 = try file.tensor("float8.e5m2").data
        #expect(inputs.count > 5000)
        for (index, input) in inputs.enumerated() {
            #expect(Float8E4M3(input).bitPattern == e4m3[e4m3.startIndex + index], "\(input)")
            #expect(Float8E5M2(input).bitPattern == e5m2[e5m2.startIndex + index], "\(input)")
        }
    }

    @Test func float8Overflow() {
        #expect(Float8E4M3(464).bitPattern == 0x7E)
        #expect(Float8E4M3(saturating: -.infinity).bitPattern == 0xFE)
        #expect(Float8E4M3(nonSaturating: 448).bitPattern == 0x7E)
        // Half-way to 480, which would be the next value, still rounds to the even 448.
        #expect(Float8E4M3(nonSaturating: 464).bitPattern == 0x7E)
        #expect(Float8E4M3(nonSaturating: Float(464).nextUp).bitPattern == 0x7F)
        #expect(Float8E4M3(nonSaturating: -1e30).bitPattern == 0xFF)
        #expect(Float8E4M3(nonSaturating: .infinity).isNaN)
        #expect(Float8E4M3(-.nan).bitPattern == 0xFF)
        #expect(Float8E5M2(Float(61440).nextDown).bitPattern == 0x7B)
        #expect(Float8E5M2(61440).bitPattern == 0x7C)
        #expect(Float8E5M2(-1e30).bitPattern == 0xFC)
        #expect(Float8E5M2(saturating: .infinity).bitPattern == 0x7B)
        #expect(Float8E5M2(saturating: -1e30).bitPattern == 0xFB)
        #expect(Float8E5M2(saturating: .nan).isNaN)
    }

    @Test func bfloat16NarrowsAsPyTorch() throws {
        let file = try casts()
        let inputs = try file.tensor("bfloat16.input").float32()
        let bits = [UInt8](try file.tensor("bfloat16.bits").data)
        #expect(inputs.count > 1000)
        for (index, input) in inputs.enumerated() {
            #expect(BFloat16(input).bitPattern == UInt16(bits[2 * index]) | UInt16(bits[2 * index + 1]) << 8, "\(input)")
        }
    }

    @Test func bfloat16WidensAndComesBack() {
        for pattern in UInt16.min...UInt16.max {
            let value = BFloat16(bitPattern: pattern)
            let wide = Float(value)
            #expect(wide.bitPattern == UInt32(pattern) << 16)
            #expect(value.isNaN == wide.isNaN)
            // A signalling NaN comes back quiet; all else comes back as it was.
            #expect(BFloat16(wide).bitPattern == (wide.isNaN ? pattern | 0x0040 : pattern))
        }
    }

    @Test(arguments: [0x7F80_0001, 0x7FBF_FFFF, 0x7FFF_FFFF, 0xFF80_0001, 0xFFFF_FFFF] as [UInt32])
    func bfloat16KeepsNaN(bits: UInt32) {
        let value = BFloat16(Float(bitPattern: bits))
        #expect(value.isNaN)
        #expect(value.bitPattern >> 15 == UInt16(bits >> 31))
    }

    @Test func equalityIsThatOfNumbers() {
        #expect(BFloat16(0) == BFloat16(-0.0))
        #expect(BFloat16(Float.nan) != BFloat16(Float.nan))
        #expect(BFloat16(1) != BFloat16(1.5))
        #expect(Float8E4M3(0) == Float8E4M3(-0.0))
        #expect(Float8E4M3(.nan) != Float8E4M3(.nan))
        #expect(Float8E5M2(0) == Float8E5M2(-0.0))
        #expect(Float8E5M2(.nan) != Float8E5M2(.nan))
    }

    @Test func typesKnowTheirNamesAndSizes() {
        for dtype in DType.allCases { #expect(DType(safetensorsName: dtype.safetensorsName) == dtype) }
        #expect(DType(safetensorsName: "f32") == nil)
        #expect(DType.bfloat16.byteCount == 2)
        #expect(DType.float8E4M3.description == "float8_e4m3fn")
        #expect(DType.allCases.map(\.byteCount) == [8, 4, 2, 2, 1, 1, 8, 4, 2, 1, 8, 4, 2, 1, 1])
    }
}
