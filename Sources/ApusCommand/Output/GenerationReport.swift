import Apus
import Foundation

/// A generation as `generate --json` prints it.
enum GenerationReport {
    static func json(_ result: GenerationResult, seed: UInt64?) -> String {
        let timings = result.timings
        func milliseconds(_ duration: Duration) -> String { JSONText.number(duration / .milliseconds(1)) }
        let times = JSONText.object([
            "prefill_tokens": "\(timings.prefilledTokens)",
            "prefill_ms": milliseconds(timings.prefill),
            "prefill_tokens_per_second": JSONText.number(timings.prefillRate),
            "first_token_ms": milliseconds(timings.firstToken),
            "decode_tokens": "\(timings.decodedTokens)",
            "decode_ms": milliseconds(timings.decode),
            "decode_tokens_per_second": JSONText.number(timings.decodeRate),
        ])
        var members: [(String, String)] = [
            ("prompt_tokens", "\(result.promptTokens)"),
            ("tokens", JSONText.array(result.tokens)),
            ("text", JSONText.quoted(result.text)),
            ("finish_reason", JSONText.quoted(result.finishReason.rawValue)),
        ]
        if let seed { members.append(("seed", "\(seed)")) }
        if !result.logprobs.isEmpty { members.append(("logprobs", "[" + result.logprobs.map(logprob).joined(separator: ", ") + "]")) }
        members.append(("timings", times))
        let speculation = result.speculation
        if speculation.steps > 0 {
            members.append(
                (
                    "speculation",
                    JSONText.object([
                        "steps": "\(speculation.steps)", "tokens": "\(speculation.tokens)", "guessed": "\(speculation.guessed)",
                        "accepted": "\(speculation.accepted)",
                    ])
                ))
        }
        return "{" + members.map { "\(JSONText.quoted($0.0)): \($0.1)" }.joined(separator: ", ") + "}"
    }

    /// One line for people.
    static func timings(_ result: GenerationResult) -> String {
        let timings = result.timings
        return "first token after \(Format.milliseconds(timings.firstToken)) (\(timings.prefilledTokens) tokens of prompt, "
            + "\(Format.count(timings.prefillRate)) tok/s); \(timings.decodedTokens) more in \(Format.milliseconds(timings.decode)), "
            + "\(Format.count(timings.decodeRate)) tok/s"
    }

    /// What guessing came to; nil where nothing was to be guessed.
    static func speculation(_ result: GenerationResult) -> String? {
        let speculation = result.speculation
        guard speculation.steps > 0 else { return nil }
        return String(
            format: "guessed: %d tokens in %d steps, %.2f a step; of %d guesses %d were kept (%.0f %%)", speculation.tokens, speculation.steps,
            speculation.tokensPerStep, speculation.guessed, speculation.accepted, 100 * speculation.acceptance)
    }

    private static func logprob(_ token: SampledToken) -> String {
        let top = token.topLogprobs.map { JSONText.object(["id": "\($0.id)", "logprob": JSONText.number(Double($0.logprob))]) }
        return JSONText.object([
            "id": "\(token.id)", "logprob": token.logprob.map { JSONText.number(Double($0)) } ?? "null",
            "top": "[" + top.joined(separator: ", ") + "]",
        ])
    }
}
