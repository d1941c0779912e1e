/// One reader under test: what it is fed, and what it may cost.
///
/// A new reader is a file in Targets/ with one static constant, and its line in ``all``.
struct FuzzTarget: Sendable {
    /// The name on the command line.
    let name: String
    /// Inputs that the reader accepts; every mutation starts from one. Small ones make a fast run: one for each thing that the format can say.
    let seeds: [[UInt8]]
    /// How inputs of this format are changed.
    let format: FuzzFormat
    /// Words of the format that mutations put in.
    var dictionary: [String] = []
    /// The resident memory that a run may add, in multiples of the input's size, beside ``MemoryWatch/allowance``.
    let statedMemoryMultiple: Int
    /// Reads the input and, where it is accepted, uses what came of it. Throws what the reader throws, or a ``FuzzViolation``.
    let run: @Sendable ([UInt8]) throws -> Void

    static let all: [FuzzTarget] = [.json, .safetensors, .safetensorsIndex, .npy, .tokenizer, .template, .configuration]
}

/// The reader accepted the input but what it made of it is wrong. This is a failure; any other error is a refusal, which is as it should be.
struct FuzzViolation: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// How inputs of a format are changed.
struct FuzzFormat: Sendable {
    /// Changes the input once.
    let mutate: @Sendable (inout [UInt8], inout FuzzRandom, FuzzTarget) -> Void
    /// Makes the input large, up to so many bytes, by repeating parts of it.
    let amplify: @Sendable (inout [UInt8], inout FuzzRandom, Int) -> Void
}

extension FuzzTarget {
    /// The input of one iteration, which depends on nothing but these numbers.
    func input(seed: UInt64, iteration: Int) -> [UInt8] {
        var random = FuzzRandom(seed: seed, iteration: iteration)
        var input = random.pick(seeds)
        if random.chance(1, in: 1000) {
            // Large inputs start from a whole seed, since an early fault would hide what the rest costs.
            format.amplify(&input, &random, random.pick([1 << 14, 1 << 17, 1 << 20]))
            if random.chance(1, in: 2) { format.mutate(&input, &random, self) }
        } else {
            for _ in 0..<random.pick([1, 1, 1, 2, 2, 3, 5, 8]) { format.mutate(&input, &random, self) }
        }
        return input
    }
}
