import CCPUKernels
import Foundation
import Testing

extension Kernels {
    /// The rule of an fp8 cache's rows, against one that is worked out with whole numbers and doubles.
    @Suite struct CacheRows {
        /// The values of the positive codes, ascending: three bits behind the point, exponents from -6 to 8, 448 the largest.
        private static let values: [Double] = (0...0x7E).map { code in
            let (exponent, mantissa) = (code >> 3, Double(code & 7))
            return exponent == 0 ? mantissa * exp2(-9) : (8 + mantissa) * exp2(Double(exponent) - 10)
        }

        private static func reference(_ row: [Float]) -> (codes: [UInt8], exponent: UInt8) {
            guard row.allSatisfy(\.isFinite) else { return ([UInt8](repeating: 0x7F, count: row.count), 127) }
            let most = row.map { Double(abs($0)) }.max() ?? 0
            let exponent = most == 0 ? 127 : (1...254).first { most / exp2(Double($0) - 127) <= 448 } ?? 254
            let codes = row.map { value -> UInt8 in
                let scaled = Double(abs(value)) / exp2(Double(exponent) - 127)
                let above = values.firstIndex { $0 >= scaled } ?? 0x7E
                var code = above
                if above > 0, values[above] > scaled {
                    let (down, up) = (scaled - values[above - 1], values[above] - scaled)
                    if down < up || (down == up && above % 2 == 1) { code = above - 1 }
                }
                return UInt8(code) | (value.sign == .minus ? 0x80 : 0)
            }
            return (codes, UInt8(exponent))
        }

        private static func encoded(_ row: [Float]) -> (codes: [UInt8], exponent: UInt8) {
            var codes = [UInt8](repeating: 0xEE, count: row.count)
            var exponent: UInt8 = 0
            apus_cache_encode(row.count, row, &codes, &exponent)
            return (codes, exponent)
        }

        private static func decoded(_ codes: [UInt8], _ exponent: UInt8) -> [Float] {
            var row = [Float](repeating: -1, count: codes.count)
            apus_cache_decode(codes.count, codes, exponent, &row)
            return row
        }

        private static func check(_ row: [Float], _ name: String) {
            let (actual, expected) = (encoded(row), reference(row))
            #expect(actual.exponent == expected.exponent, "\(name): exponent")
            #expect(actual.codes == expected.codes, "\(name)")
            let values = decoded(actual.codes, actual.exponent)
            for (code, value) in zip(actual.codes, values) {
                guard code & 0x7F != 0x7F else {
                    #expect(value.isNaN)
                    continue
                }
                let magnitude = Self.values[Int(code & 0x7F)] * exp2(Double(actual.exponent) - 127)
                #expect(value == Float(code & 0x80 == 0 ? magnitude : -magnitude), "\(name): code \(code)")
            }
        }

        @Test func theFactorIsTheLeastThatFits() {
            for exponent in -149...127 {
                for significand in [1, 1.25, 1.5, 1.75 - 0x1p-23, 1.75, 1.75 + 0x1p-23, 1.9375, 2 - 0x1p-23] as [Float] {
                    let most = Float(sign: .plus, exponent: exponent, significand: significand)
                    guard most > 0, most.isFinite else { continue }
                    Self.check([most, 0, most / 3, -most / 100], "\(most)")
                    Self.check([-most / 7, -most], "-\(most)")
                }
            }
            #expect(Self.encoded([448, 1]).exponent == 127 && Self.encoded([448, 1]).codes[0] == 0x7E)
            #expect(Self.encoded([448.00003, 1]).exponent == 128 && Self.encoded([448.00003, 1]).codes[0] == 0x76)
            #expect(Self.encoded([224]).exponent == 126 && Self.encoded([1]).exponent == 119)
        }

        @Test func everyCodeTieAndNeighbour() {
            for code in 1...0x7E {
                let (below, above) = (Float(Self.values[code - 1]), Float(Self.values[code]))
                let tie = (below + above) / 2
                for value in [above, -above, above.nextDown, above.nextUp, tie, -tie, tie.nextUp, tie.nextDown] where abs(value) <= 448 {
                    for scale in [0x1p-100, 1, 0x1p50] as [Float] { Self.check([448 * scale, value * scale, 0], "\(value) times \(scale)") }
                }
            }
        }

        @Test func rowsOfNothingAndOfWhatIsNoNumber() {
            #expect(Self.encoded([0, -0.0, 0]).exponent == 127 && Self.encoded([0, -0.0, 0]).codes == [0, 0x80, 0])
            for bad in [Float.nan, -.nan, .infinity, -.infinity] {
                for row in [[bad, 1, 2], [1, bad], [bad], [0, 0, 0, bad]] {
                    Self.check(row, "\(bad)")
                    #expect(Self.decoded([0x7F], 127)[0].isNaN)
                }
            }
            Self.check([Float](repeating: .leastNonzeroMagnitude, count: 5), "the least")
            Self.check([.leastNormalMagnitude, .leastNonzeroMagnitude], "the least normal")
            // Above 448 times the largest factor that a finite row has: what rounds up is out of fp32's reach.
            #expect(Self.decoded(Self.encoded([.greatestFiniteMagnitude]).codes, 247)[0] == .infinity)
            #expect(Self.decoded(Self.encoded([0x1.Ep127]).codes, 247)[0] == 0x1.Ep127)
        }

        @Test func roundedRowsAreDecodedCodes() throws {
            try withKernels("plain") { pool in
                for (rows, width) in [(1, 1), (3, 64), (129, 128), (700, 256), (65, 31), (2, 300)] {
                    var numbers = Values(seed: rows)
                    var x = numbers.floats(rows * width)
                    for index in x.indices { x[index] *= Float(sign: .plus, exponent: index / width % 60 - 30, significand: 1) }
                    x[x.count / 2] = rows > 2 ? .nan : x[x.count / 2]
                    var expected: [Float] = []
                    for row in 0..<rows {
                        let coded = Self.encoded(Array(x[row * width..<(row + 1) * width]))
                        Self.check(Array(x[row * width..<(row + 1) * width]), "row \(row) of \(width)")
                        expected += Self.decoded(coded.codes, coded.exponent)
                    }
                    apus_cache_round(pool, rows, width, &x)
                    #expect(x.map(\.bitPattern) == expected.map(\.bitPattern), "\(rows) rows of \(width)")
                    // What is rounded stays.
                    let once = x
                    apus_cache_round(pool, rows, width, &x)
                    #expect(x.map(\.bitPattern) == once.map(\.bitPattern))
                }
            }
        }
    }
}
