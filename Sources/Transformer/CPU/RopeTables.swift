import Foundation
import Synchronization

/// Cosines and sines of the rotary embedding, `[positions, D/2]` fp32 for each distinct ``TransformerSpec/RopeSpec``, grown on demand.
///
/// Computed as transformers does, angle and all in fp32: at position 32,768 the rounding of the angle is visible, and has to be the same.
final class RopeTables: Sendable {
    final class Table: Sendable {
        let positions: Int
        let cosine: FloatBuffer
        let sine: FloatBuffer

        init(_ rope: TransformerSpec.RopeSpec, headDimension: Int, positions: Int) {
            let half = headDimension / 2
            self.positions = positions
            cosine = FloatBuffer(count: positions * half)
            sine = FloatBuffer(count: positions * half)
            let frequencies = RopeTables.inverseFrequencies(rope, headDimension: headDimension)
            for position in 0..<positions {
                for index in 0..<half {
                    let angle = Float(position) * frequencies[index]
                    cosine.pointer[position * half + index] = cos(angle)
                    sine.pointer[position * half + index] = sin(angle)
                }
            }
        }
    }

    /// The angle of position 1 for each of the D / 2 pairs.
    static func inverseFrequencies(_ rope: TransformerSpec.RopeSpec, headDimension: Int) -> [Float] {
        (0..<headDimension / 2).map { Float(1) / pow(rope.base, Float(2 * $0) / Float(headDimension)) / rope.factor }
    }

    private let headDimension: Int
    private let tables = Mutex<[TransformerSpec.RopeSpec: Table]>([:])

    init(headDimension: Int) { self.headDimension = headDimension }

    /// A table of at least `positions` rows.
    func table(for rope: TransformerSpec.RopeSpec, positions: Int) -> Table {
        tables.withLock { tables in
            if let table = tables[rope], table.positions >= positions { return table }
            let grown = max(positions, min(2 * (tables[rope]?.positions ?? 0), 1 << 16), 256)
            let table = Table(rope, headDimension: headDimension, positions: grown)
            tables[rope] = table
            return table
        }
    }
}
