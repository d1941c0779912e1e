/// How a device draws its next tokens: parameters in the sense of Apus' `SamplingParameters`, and the state that they work on.
package struct DeviceDraw: Sendable {
    /// 0 takes the likeliest, after penalties.
    package var temperature: Float = 1
    /// 0 keeps all.
    package var topK = 0
    package var topP: Float = 1
    package var minP: Float = 0
    package var repetitionPenalty: Float = 1
    package var presencePenalty: Float = 0
    package var frequencyPenalty: Float = 0
    /// Ids that prompt and answer hold.
    package var seen: Set<Int> = []
    /// How often the answer holds an id.
    package var counts: [Int: Int] = [:]
    /// The number in [0, 1) that draws the n-th token from now.
    package var uniform: @Sendable (_ token: Int) -> Double

    package init(uniform: @escaping @Sendable (_ token: Int) -> Double) { self.uniform = uniform }

    package var hasPenalties: Bool { repetitionPenalty != 1 || presencePenalty != 0 || frequencyPenalty != 0 }
}

/// What a device guesses from, besides the tokens that it chooses itself.
package struct DeviceLookup {
    /// Prompt and answer, the last token included.
    package var history: [Int32]
    /// Tokens guessed a step at most.
    package var guesses: Int
    /// Gets how many were guessed, once a step, before its tokens are handed over.
    package var onStep: (_ guessed: Int) -> Void

    package init(history: [Int32], guesses: Int, onStep: @escaping (_ guessed: Int) -> Void = { _ in }) {
        self.history = history
        self.guesses = guesses
        self.onStep = onStep
    }
}
