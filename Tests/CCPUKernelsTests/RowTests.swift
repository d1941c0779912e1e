import CCPUKernels
import Foundation
import Testing

extension Kernels {
    @Suite struct Rows {
        @Test(arguments: levels)
        func rmsNorm(level: String) throws {
            try withKernels(level) { pool in
                for K in oddSizes + [640, 1024] {
                    for T in [0, 1, 3, 70] {
                        var values = Values(seed: K + T)
                        let x = values.floats(T * (K + 2)), residual = values.floats(T * (K + 1))
                        for type in weightTypes {
                            let w = Weights(values.floats(K), type: type)
                            for plain in [false, true] {
                                var y = residual, sum = residual
                                w.withPointer { w in
                                    apus_rms_norm(pool, T, K, x, K + 2, plain ? nil : w, type, 1, 1e-6, &y, K + 1)
                                    apus_rms_norm_add(pool, T, K, x, K + 2, plain ? nil : w, type, 1, 1e-6, &sum, K + 1)
                                }
                                for t in 0..<T {
                                    let row = Array(x[(t * (K + 2))..<(t * (K + 2) + K)])
                                    let expected = Reference.rmsNorm(row, w: plain ? nil : w.values, offset: 1, epsilon: 1e-6)
                                    let scale = expected.map { abs($0) + 1e-6 }
                                    #expect(worstError(Array(y[(t * (K + 1))..<(t * (K + 1) + K)]), expected, against: scale) < 1e-6, "K \(K)")
                                    let added = expected.indices.map { expected[$0] + Double(residual[t * (K + 1) + $0]) }
                                    #expect(worstError(Array(sum[(t * (K + 1))..<(t * (K + 1) + K)]), added, against: scale.map { $0 + 1 }) < 1e-6)
                                    #expect(y[t * (K + 1) + K] == residual[t * (K + 1) + K], "wrote past a row")
                                }
                            }
                        }
                    }
                }
                var inPlace: [Float] = [3, 4], spoiled: [Float] = [.nan, 1]
                inPlace.withUnsafeMutableBufferPointer { apus_rms_norm(pool, 1, 2, $0.baseAddress, 2, nil, APUS_F32, 0, 0, $0.baseAddress, 2) }
                #expect(abs(inPlace[0] - 3 / Float(12.5).squareRoot()) < 1e-6)
                spoiled.withUnsafeMutableBufferPointer { apus_rms_norm(pool, 1, 2, $0.baseAddress, 2, nil, APUS_F32, 0, 0, $0.baseAddress, 2) }
                #expect(spoiled.allSatisfy { $0.isNaN })
            }
        }

        @Test(arguments: levels)
        func rope(level: String) throws {
            try withKernels(level) { pool in
                for (T, heads, D) in [(1, 1, 2), (3, 2, 32), (5, 3, 66), (9, 1, 256), (60, 8, 128), (2, 2, 33)] {
                    let half = D / 2
                    var values = Values(seed: D)
                    let x = values.floats(T * (heads * D + 4))
                    let angles = values.floats(40 * half, scale: 3)
                    let cosine = angles.map { Float(cos(Double($0))) }, sine = angles.map { Float(sin(Double($0))) }
                    let positions = (0..<T).map { _ in Int32(values.below(40)) }
                    let w = Weights(values.floats(D), type: APUS_BF16)
                    for normed in [false, true] {
                        var y = x
                        w.withPointer {
                            apus_norm_rope(pool, T, heads, D, &y, heads * D + 4, normed ? $0 : nil, APUS_BF16, 1, 1e-6, cosine, sine, positions)
                        }
                        for t in 0..<T {
                            for h in 0..<heads {
                                let base = t * (heads * D + 4) + h * D
                                let head = Array(x[base..<(base + D)])
                                let normal = normed ? Reference.rmsNorm(head, w: w.values, offset: 1, epsilon: 1e-6) : head.map(Double.init)
                                var expected = normal
                                for i in 0..<half {
                                    let c = Double(cosine[Int(positions[t]) * half + i]), s = Double(sine[Int(positions[t]) * half + i])
                                    expected[i] = normal[i] * c - normal[i + half] * s
                                    expected[i + half] = normal[i + half] * c + normal[i] * s
                                }
                                #expect(worstError(Array(y[base..<(base + D)]), expected, against: expected.map { _ in 4 }) < 1e-6, "D \(D)")
                            }
                            #expect(
                                y[(t * (heads * D + 4) + heads * D)..<((t + 1) * (heads * D + 4))]
                                    == x[(t * (heads * D + 4) + heads * D)..<((t + 1) * (heads * D + 4))])
                        }
                    }
                }
            }
        }

        /// All 65,536 patterns of both 16-bit types, bit for bit.
        @Test(arguments: levels)
        func conversionsAreExact(level: String) throws {
            try withKernels(level) { _ in
                let bits = (0...UInt16.max).map { $0 }
                var floats = [Float](repeating: 0, count: bits.count)
                apus_to_float(bits.count, bits, APUS_F16, &floats)
                for (pattern, value) in zip(bits, floats) {
                    let expected = Half.value(pattern)
                    #expect(value.bitPattern == expected.bitPattern || (value.isNaN && expected.isNaN), "half \(pattern)")
                }
                apus_to_float(bits.count, bits, APUS_BF16, &floats)
                for (pattern, value) in zip(bits, floats) { #expect(value.bitPattern == UInt32(pattern) << 16 || value.isNaN) }
                for count in oddSizes {
                    var values = Values(seed: count)
                    for type in weightTypes {
                        let source = Weights(values.floats(count), type: type)
                        var out = [Float](repeating: 7, count: count + 1)
                        source.withPointer { apus_to_float(count, $0, type, &out) }
                        #expect(out == source.values + [7])
                    }
                }
            }
        }

        /// To the nearer of the two neighbours, as exact distances in double precision say.
        @Test(arguments: levels)
        func roundingIsToNearestEven(level: String) throws {
            func nearest(_ value: Float) -> UInt16 {
                let below = UInt16(value.bitPattern >> 16)
                guard value.isFinite else { return value.isNaN ? below | 0x40 : below }
                func magnitude(_ bits: UInt16) -> Double {
                    bits & 0x7fff == 0x7f80 ? 0x1p128 : Double(Float(bitPattern: UInt32(bits) << 16)).magnitude
                }
                let (down, up) = (Double(value).magnitude - magnitude(below), magnitude(below + 1) - Double(value).magnitude)
                return down < up || (down == up && below % 2 == 0) ? below : below + 1
            }
            try withKernels(level) { _ in
                // Every upper half with lower halves at, beside and between the ties.
                let lower: [UInt32] = [0, 1, 0x7fff, 0x8000, 0x8001, 0xffff]
                let all = (0...UInt32(UInt16.max)).flatMap { upper in lower.map { Float(bitPattern: upper << 16 | $0) } }
                var out = [UInt16](repeating: 0, count: all.count)
                apus_to_bfloat16(all.count, all, APUS_F32, nil, &out)
                #expect(out == all.map(nearest))
                for count in oddSizes {
                    var values = Values(seed: count)
                    let factors = values.floats(count, scale: 3)
                    for type in weightTypes {
                        let source = Weights(values.floats(count), type: type)
                        var folded = [UInt16](repeating: 7, count: count + 1), plain = folded
                        source.withPointer {
                            apus_to_bfloat16(count, $0, type, factors, &folded)
                            apus_to_bfloat16(count, $0, type, nil, &plain)
                        }
                        #expect(folded == zip(source.values, factors).map { nearest($0 * $1) } + [7])
                        #expect(plain == source.values.map(nearest) + [7])
                    }
                }
                // Without factors the bits of bfloat16 pass, those of a signalling NaN included.
                let bits = [UInt16](0...UInt16.max)
                var copy = [UInt16](repeating: 0, count: bits.count)
                apus_to_bfloat16(bits.count, bits, APUS_BF16, nil, &copy)
                #expect(copy == bits)
            }
        }

        /// One element in a place of its own among numbers, for all places in and behind the vectors.
        @Test(arguments: levels)
        func whatIsNotFiniteIsSeen(level: String) throws {
            try withKernels(level) { _ in
                for type in weightTypes {
                    for count in oddSizes {
                        var values = Values(seed: count)
                        let numbers = values.floats(count)
                        #expect(Weights(numbers, type: type).withPointer { apus_is_finite(count, $0, type) })
                        let missed = (0..<count).filter { place in
                            var spoiled = numbers
                            spoiled[place] = [.nan, -.infinity, .infinity][place % 3]
                            return Weights(spoiled, type: type).withPointer { apus_is_finite(count, $0, type) }
                        }
                        #expect(missed.isEmpty, "\(type) of \(count) elements")
                    }
                }
                // Each pattern alone, and 128 times, where vectors look at it.
                for pattern in 0...UInt16.max {
                    let many = [UInt16](repeating: pattern, count: 128)
                    let words = many.map { UInt32($0) << 16 | 1 }
                    for count in [1, 128] {
                        #expect(apus_is_finite(count, many, APUS_F16) == (pattern & 0x7c00 != 0x7c00))
                        #expect(apus_is_finite(count, many, APUS_BF16) == (pattern & 0x7f80 != 0x7f80))
                        #expect(apus_is_finite(count, words, APUS_F32) == (pattern & 0x7f80 != 0x7f80))
                    }
                }
                for type in weightTypes { #expect(apus_is_finite(0, [Float.nan], type)) }
            }
        }

        @Test(arguments: levels)
        func gather(level: String) throws {
            try withKernels(level) { pool in
                for (K, T) in [(1, 3), (33, 7), (640, 129)] {
                    var values = Values(seed: K)
                    for type in weightTypes {
                        let table = Weights(values.floats(11 * K), type: type)
                        let ids = (0..<T).map { _ in Int32(values.below(11)) }
                        var y = [Float](repeating: 0, count: T * K)
                        table.withPointer { apus_gather_rows(pool, T, K, $0, type, ids, 25.25, &y) }
                        #expect(y == ids.flatMap { id in table.values[(Int(id) * K)..<(Int(id) * K + K)].map { $0 * 25.25 } })
                    }
                }
            }
        }

        @Test(arguments: levels)
        func dotAndLength(level: String) throws {
            try withKernels(level) { _ in
                for K in oddSizes + [0] {
                    var values = Values(seed: K)
                    let a = values.floats(K), b = values.floats(K)
                    let expected = zip(a, b).reduce(0.0) { $0 + Double($1.0) * Double($1.1) }
                    #expect(abs(Double(apus_dot(K, a, b)) - expected) < 1e-6 * Double(K + 1))
                    var unit = a
                    apus_l2_normalize(K, &unit)
                    let length = a.reduce(0.0) { $0 + Double($1) * Double($1) }.squareRoot()
                    #expect(worstError(unit, a.map { Double($0) / length }, against: a.map { _ in 1 }) < 1e-6)
                }
                var zeros = [Float](repeating: 0, count: 5), spoiled: [Float] = [1, .nan]
                apus_l2_normalize(5, &zeros)
                #expect(zeros == [0, 0, 0, 0, 0])
                apus_l2_normalize(2, &spoiled)
                #expect(spoiled.allSatisfy { $0.isNaN })
            }
        }

        @Test(arguments: levels)
        func probeSumsEveryWord(level: String) throws {
            try withKernels(level) { pool in
                for count in [0, 1, 15, 17, 65_536, 70_001] {
                    var values = Values(seed: count)
                    let words = (0..<count).map { _ in values.next() }
                    #expect(apus_read_bandwidth_probe(pool, words, count * 8) == words.reduce(0, &+))
                }
            }
        }
    }
}
