import Tensors

/// How a product is cut into pieces on Hopper: the choices that change its speed and not its result.
struct GEMMConfiguration: Hashable, Sendable {
    /// Rows and columns of a tile; the columns are rows of B.
    var tileM: Int
    var tileN: Int
    /// Slots of the ring that feeds the tensor cores, of 128 bytes of K each.
    var stages: Int
    /// Warpgroups that multiply.
    var consumers: Int = 2
    /// Each warpgroup owns whole tiles, in turn.
    var isPingPong = false
    /// Blocks that share tiles of B (along M) or of A (along N).
    var clusterM = 1
    var clusterN = 1
    /// Tile rows that are worked on together.
    var group = 8
    /// Pieces of the result staged by each warpgroup.
    var staging = 2
    /// fp8: slots of the ring after which the sum goes to fp32 registers; 0 leaves it to the tensor cores.
    var promotion = 0
    /// fp8: accumulators that take turns.
    var parts = 1
    /// fp8: steps in which the halves of a block's columns take turns, one added while the other is multiplied; 0: whole blocks.
    var halves = 0

    /// Blocks of 64 rows that a warpgroup multiplies.
    var rowBlocks: Int { tileM / 64 / (isPingPong ? 1 : consumers) }

    /// The choice for a shape, by measurements on an H200.
    static func best(_ problem: GEMMProblem) -> GEMMConfiguration {
        best(
            input: problem.inputType, m: problem.m, n: problem.n, k: problem.k, isGated: problem.isGated, promotes: problem.promotes,
            scalesRows: problem.scalesRows,
            holdsFactors: problem.hasBias || problem.scalesOneSide || problem.n * problem.outputType.byteCount % 16 != 0)
    }

    static func best(
        input: DType, m: Int, n: Int, k: Int, isGated: Bool, promotes: Bool = true, scalesRows: Bool = true, holdsFactors: Bool = false
    ) -> GEMMConfiguration {
        let columns = isGated ? 2 * n : n
        if input == .float8E4M3 {
            return promotes
                ? bestFloat8(m: m, n: columns, k: k, scalesRows: scalesRows)
                : fastFloat8(m: m, n: columns, k: k, scalesRows: scalesRows, holdsFactors: holdsFactors)
        }
        if m <= 64 { return GEMMConfiguration(tileM: 64, tileN: 128, stages: 6, consumers: 1) }
        if columns <= 128 { return GEMMConfiguration(tileM: 128, tileN: 128, stages: 6, isPingPong: true) }
        if columns <= 1280, columns % 192 != 0, !isGated {
            // 640, the width of Gemma3-270m, is four tiles of 160 and three and a third of 192; 1,024 is four of 256.
            if columns % 160 == 0 { return GEMMConfiguration(tileM: 128, tileN: 160, stages: 5, isPingPong: true, staging: 5) }
            if columns % 256 == 0 { return GEMMConfiguration(tileM: 128, tileN: 256, stages: 4) }
        }
        let group = k <= 1024 ? 4 : columns >= 16384 ? 32 : 8
        return GEMMConfiguration(tileM: 128, tileN: 192, stages: 4, isPingPong: true, group: group, staging: 3)
    }

    /// The tensor cores' own sums.
    ///
    /// - Parameter holdsFactors: A bias or factors of columns stay in registers: see ``HopperGEMMVariant/stagesScales``.
    private static func fastFloat8(m: Int, n: Int, k: Int, scalesRows: Bool, holdsFactors: Bool) -> GEMMConfiguration {
        if m <= 64 { return GEMMConfiguration(tileM: 64, tileN: 128, stages: 6, consumers: 1) }
        // A bias, or factors that do not wait in shared memory, leave no registers for tiles of 192.
        if n <= 128 || (holdsFactors && k < 2048) { return GEMMConfiguration(tileM: 128, tileN: 128, stages: 6, isPingPong: true) }
        if holdsFactors || (scalesRows && (2048..<8192).contains(k)) || (n <= 1280 && n % 160 == 0 && n % 192 != 0) {
            return GEMMConfiguration(tileM: 128, tileN: 160, stages: 5, isPingPong: true, staging: 5)
        }
        return GEMMConfiguration(tileM: 128, tileN: 192, stages: 4, isPingPong: true, staging: 3)
    }

    /// Every sum goes to fp32 after 128 of K: the tensor cores alone keep about 14 bits of it.
    private static func bestFloat8(m: Int, n: Int, k: Int, scalesRows: Bool) -> GEMMConfiguration {
        if m <= 64 { return GEMMConfiguration(tileM: 64, tileN: 128, stages: 6, consumers: 1, promotion: 1) }
        // 640 is five tiles of 128 and three and a third of 192.
        if n <= 128 || (n <= 1280 && n % 128 == 0 && n % 192 != 0) {
            if k >= 2048 { return GEMMConfiguration(tileM: 192, tileN: 128, stages: 5, consumers: 3, staging: 1, promotion: 1) }
            return GEMMConfiguration(tileM: 128, tileN: 128, stages: 6, promotion: 1, parts: 2)
        }
        return GEMMConfiguration(tileM: 128, tileN: 192, stages: 4, staging: 3, promotion: 1, halves: scalesRows && k < 4096 ? 16 : 32)
    }
}
