import CCPUKernels
import Testing

/// The forms that this machine runs, from the plainest to the best.
let levels: [String] = ["plain", "avx2", "avx512", "neon"].filter { name in
    let available = apus_cpu_set_level(name)
    apus_cpu_set_level(nil)
    return available
}

/// Sizes at which blocks, tiles and vectors begin and end.
let oddSizes = [1, 31, 33, 127, 129, 513]

/// Runs `body` with the kernels of one level and a team of `threads`.
func withKernels(_ level: String, threads: Int = 2, _ body: (OpaquePointer) throws -> Void) throws {
    try #require(apus_cpu_set_level(level))
    defer { apus_cpu_set_level(nil) }
    let pool = try #require(apus_pool_create(threads))
    defer { apus_pool_destroy(pool) }
    try body(pool)
}

/// A small generator of test values: the same numbers on every machine.
struct Values {
    private var state: UInt64

    init(seed: Int) { state = UInt64(truncatingIfNeeded: seed) &* 0x9E37_79B9_7F4A_7C15 &+ 1 }

    mutating func next() -> UInt64 {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        return state
    }

    mutating func below(_ bound: Int) -> Int { Int(next() >> 33) % bound }

    /// Uniform in -1..<1.
    mutating func float() -> Float { Float(Int32(truncatingIfNeeded: next() >> 40) - (1 << 23)) / Float(1 << 23) }

    mutating func floats(_ count: Int, scale: Float = 1) -> [Float] { (0..<count).map { _ in float() * scale } }
}

/// A weight matrix as it may lie in a file: any type, beginning at an address that is a multiple of the element's size and no more.
struct Weights {
    let type: apus_dtype
    /// What the elements mean.
    let values: [Float]
    private let bytes: [UInt8]

    init(_ values: [Float], type: apus_dtype) {
        self.type = type
        var bytes = [UInt8](repeating: 0, count: type == APUS_F32 ? 4 : 2)
        var exact: [Float] = []
        for value in values {
            switch type {
            case APUS_F32:
                withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes.append(contentsOf: $0) }
                exact.append(value)
            case APUS_BF16:
                let upper = UInt16(truncatingIfNeeded: value.bitPattern >> 16)
                withUnsafeBytes(of: upper.littleEndian) { bytes.append(contentsOf: $0) }
                exact.append(Float(bitPattern: UInt32(upper) << 16))
            default:
                let half = Half.bits(value)
                withUnsafeBytes(of: half.littleEndian) { bytes.append(contentsOf: $0) }
                exact.append(Half.value(half))
            }
        }
        self.values = exact
        self.bytes = bytes
    }

    func withPointer<Result>(_ body: (UnsafeRawPointer) throws -> Result) rethrows -> Result {
        try bytes.withUnsafeBytes { try body($0.baseAddress! + (type == APUS_F32 ? 4 : 2)) }
    }
}

/// Half precision in integers, as a reference that owes nothing to the processor.
enum Half {
    static func value(_ bits: UInt16) -> Float {
        let exponent = Int(bits >> 10 & 31), fraction = Float(bits & 1023) / 1024
        let sign: Float = bits >> 15 == 0 ? 1 : -1
        if exponent == 31 { return fraction == 0 ? sign * .infinity : .nan }
        return exponent == 0 ? sign * fraction * 0x1p-14 : sign * Float(sign: .plus, exponent: exponent - 15, significand: 1 + fraction)
    }

    /// Towards zero; enough for test values.
    static func bits(_ value: Float) -> UInt16 {
        let sign: UInt16 = value.sign == .minus ? 0x8000 : 0
        let magnitude = value.magnitude
        if magnitude.isNaN { return sign | 0x7e00 }
        if magnitude >= 65520 { return sign | 0x7c00 }
        if magnitude < 0x1p-14 { return sign | UInt16(magnitude * 0x1p24) }
        let exponent = Int(magnitude.exponent)
        return sign | UInt16(exponent + 15) << 10 | UInt16((magnitude.significand - 1) * 1024)
    }
}

let weightTypes: [apus_dtype] = [APUS_F32, APUS_F16, APUS_BF16]

/// The largest |a - b|, each measured against its own yardstick; infinite when only one of the two is not a number.
func worstError(_ result: [Float], _ expected: [Double], against scale: [Double]) -> Double {
    var worst = 0.0
    for (index, value) in result.enumerated() {
        if value.isNaN || expected[index].isNaN {
            if value.isNaN != expected[index].isNaN { return .infinity }
            continue
        }
        worst = max(worst, abs(Double(value) - expected[index]) / scale[index])
    }
    return worst
}
