import Tensors

/// How the rows of a norm are dealt to threads: the choices that change its speed and not its result.
struct NormConfiguration: Hashable, Sendable {
    /// Threads of a row, a power of two.
    var lanes: Int
    /// Rows of a block; more than one where a row takes a warp or less.
    var rows: Int
    /// Blocks per multiprocessor that the compiler plans for.
    var blocks: Int

    /// The choice for rows of so many pairs of vectors, by measurements on an H200: up to 64 pairs belong to one warp or less, several rows to a
    /// block; above, a thread takes one pair, up to 256 threads, and more only where a thread would hold more than four.
    static func best(pairs: Int) -> NormConfiguration {
        var lanes = 1
        if pairs <= 64 {
            while lanes < min(pairs, 32) { lanes *= 2 }
        } else {
            while lanes < min(pairs, 256) { lanes *= 2 }
            while lanes < 1024, lanes * 4 < pairs { lanes *= 2 }
        }
        return NormConfiguration(lanes: lanes, rows: lanes <= 32 ? 128 / lanes : 1, blocks: lanes <= 128 ? 4 : lanes == 256 ? 2 : 1)
    }

    static let space = [
        OperatorTuning.Dimension("lanes", [4, 8, 16, 32, 64, 128, 256, 512]), OperatorTuning.Dimension("rows", [1, 4, 8, 16, 32]),
        OperatorTuning.Dimension("blocks", [1, 2, 3, 4]),
    ]

    init(lanes: Int, rows: Int, blocks: Int) {
        self.lanes = lanes
        self.rows = rows
        self.blocks = blocks
    }

    /// Nil where a name is missing.
    init?(_ values: [String: Int]) {
        guard let lanes = values["lanes"], let rows = values["rows"], let blocks = values["blocks"] else { return nil }
        self.init(lanes: lanes, rows: rows, blocks: blocks)
    }

    var values: [String: Int] { ["lanes": lanes, "rows": rows, "blocks": blocks] }

    /// Pairs of vectors of a row of these types and sizes, aligned.
    static func pairs(_ key: TuningKey) -> Int {
        let vector = 16 / max(1, key.inputType.byteCount)
        let isScalar = key.sizes[1] > 0 ? key.sizes[1] % (2 * vector) != 0 : key.sizes[0] % vector != 0
        let width = isScalar ? 1 : vector
        return max(1, (key.sizes[0] + 2 * width - 1) / (2 * width))
    }

    func isLegal(_ key: TuningKey) -> Bool {
        guard key.sizes.count == 2, key.sizes[0] > 0, key.sizes[1] >= 0, [.bfloat16, .float16, .float32].contains(key.inputType),
            (1...1024).contains(lanes), lanes & (lanes - 1) == 0, (1...1024).contains(rows), (1...8).contains(blocks)
        else { return false }
        let threads = lanes * rows
        // Whole warps, since rows are summed by shuffles; a row of several warps has its block to itself.
        guard threads % 32 == 0, threads <= 1024, lanes <= 32 || rows == 1, threads * blocks <= 1024 else { return false }
        // A thread that holds more than four pairs spills.
        let pairs = Self.pairs(key)
        return (pairs + lanes - 1) / lanes <= 4 && lanes < 2 * max(4, pairs)
    }
}
