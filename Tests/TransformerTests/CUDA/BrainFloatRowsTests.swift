import Foundation
import Tensors
import Testing
import Transformer

/// What leaves for a GPU, bit for bit: each element times its column's factor in fp32, rounded once.
@Suite struct BrainFloatRowsTests {
    private static let types = [DType.float32, .float16, .bfloat16]

    /// Any bits at all, so that infinities, NaN and subnormals are among them, beside numbers as weights are.
    private static func matrix(_ name: String, _ rows: Int, _ columns: Int, _ dtype: DType) throws -> WeightMatrix {
        var generator = SystemRandomNumberGenerator()
        let numbers = RandomNumbers(seed: 11, stream: name)
        let usual = try HostTensor((0..<rows * columns).map { numbers.normal($0) * 0.02 }, shape: [rows, columns], as: dtype)
        var data = usual.data
        let size = data.count / (rows * columns)
        for index in stride(from: 0, to: rows * columns, by: 3) {
            for byte in 0..<size { data[data.startIndex + index * size + byte] = UInt8.random(in: 0...255, using: &generator) }
            // All ones and all zeros in the exponent are rare among 8 bits, and nearly none among all.
            if index % 5 == 0 { data[data.startIndex + index * size + size - 1] = [0x7f, 0xff, 0x00, 0x80][index / 15 % 4] }
        }
        return try WeightMatrix(HostTensor(dtype: dtype, shape: [rows, columns], data: data), name: name, rows: rows, columns: columns)
    }

    private static func bits(_ matrix: WeightMatrix, _ row: Int, _ factors: [Float]?) -> [UInt16] {
        let floats = matrix.floats[row * matrix.columns..<(row + 1) * matrix.columns]
        guard let factors else {
            if matrix.typeName == "BF16" {
                let bytes = matrix.bytes
                return (0..<matrix.columns).map { bytes.loadUnaligned(fromByteOffset: (row * matrix.columns + $0) * 2, as: UInt16.self) }
            }
            return floats.map { BFloat16($0).bitPattern }
        }
        return zip(floats, factors).map { BFloat16($0 * $1).bitPattern }
    }

    private static func written(_ rows: BrainFloatRows, _ range: Range<Int>) -> [UInt16] {
        [UInt16](unsafeUninitializedCapacity: range.count * rows.columns) { buffer, count in
            rows.write(range, to: UnsafeMutableRawBufferPointer(buffer))
            count = buffer.count
        }
    }

    private static func factors(_ columns: Int) -> [Float] {
        let numbers = RandomNumbers(seed: 12, stream: "factors")
        return (0..<columns).map { $0 % 17 == 5 ? [0, .infinity, 1e38, 0x1p-140][$0 / 17 % 4] : 1 + numbers.normal($0) }
    }

    @Test func rowsAreMultipliedAndRoundedOnce() throws {
        for (rows, columns) in [(1, 1), (3, 31), (33, 129), (131, 640), (7, 20_000)] {
            for dtype in Self.types {
                let matrix = try Self.matrix("w", rows, columns, dtype)
                for factors in [nil, Self.factors(columns)] {
                    let expected = (0..<rows).map { Self.bits(matrix, $0, factors) }
                    let made = BrainFloatRows(matrix, folding: factors)
                    #expect(made.count == rows && made.columns == columns)
                    #expect(Self.written(made, 0..<rows) == expected.flatMap { $0 }, "\(rows) x \(columns) \(dtype)")
                    let part = rows / 3..<max(rows / 3, rows - 1)
                    #expect(Self.written(made, part) == expected[part].flatMap { $0 }, "rows \(part) of \(rows) x \(columns) \(dtype)")
                }
            }
        }
    }

    @Test func gatedRowsInterleave() throws {
        let (rows, columns) = (208, 321)
        for (first, second) in [(DType.bfloat16, DType.bfloat16), (.float32, .float16), (.float16, .bfloat16)] {
            let (gate, up) = (try Self.matrix("gate", rows, columns, first), try Self.matrix("up", rows, columns, second))
            func expected(_ factors: [Float]?, _ place: (Int) -> Int) -> [UInt16] {
                var all = [[UInt16]](repeating: [], count: 2 * rows)
                for (half, matrix) in [gate, up].enumerated() {
                    for row in 0..<rows { all[place(row) / 8 * 16 + half * 8 + place(row) % 8] = Self.bits(matrix, row, factors) }
                }
                return all.flatMap { $0 }
            }
            for factors in [nil, Self.factors(columns)] {
                let made = BrainFloatRows(gate: gate, up: up, folding: factors)
                let all = expected(factors) { $0 }
                #expect(Self.written(made, 0..<2 * rows) == all)
                #expect(Self.written(made, 5..<301) == Array(all[5 * columns..<301 * columns]))
            }
            #expect(Self.written(BrainFloatRows(gateForCodes: gate, up: up), 0..<2 * rows) == expected(nil, GatedCodeOrder.place))
        }
        for output in 0..<64 { #expect(GatedCodeOrder.output(GatedCodeOrder.place(output)) == output) }
    }
}
