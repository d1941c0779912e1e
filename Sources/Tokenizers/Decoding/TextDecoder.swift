/// The decoder of a tokenizer file: stages that turn the texts of tokens, one after the other, into text.
///
/// `tokenizers` defines each stage on the whole list of tokens; here each takes one token at a time and passes on what no later token can change, so
/// that the same code decodes a list and a stream.
struct TextDecoder: Sendable {
    enum Step: Sendable {
        case byteLevel
        case byteFallback
        case fuse
        case replace(TextPattern, content: [UInt8])
        case strip(scalar: [UInt8], start: Int, stop: Int)
        case metaspace(replacement: [UInt8], dropsFirst: Bool)
    }

    /// nil where the file has no decoder: tokens are then joined by spaces.
    var steps: [Step]?

    /// The stages with nothing in them yet.
    func makeStages() -> [any DecoderStage] {
        guard let steps else { return [JoinStage()] }
        var stages: [any DecoderStage] = []
        // Behind `Fuse` and `ByteLevel` there is one single token, which comes in parts.
        var isFused = false
        for step in steps {
            switch step {
            case .byteLevel:
                stages.append(isFused ? WholeStage(step: step) : ByteLevelStage())
                stages.append(UTF8RepairStage())
                isFused = true
            case .byteFallback: stages.append(isFused ? WholeStage(step: step) : ByteFallbackStage())
            case .fuse: isFused = true
            case .replace(let pattern, let content):
                // In one endless token a pattern may match across parts, unless it is a single scalar.
                if isFused, case .literal(let search) = pattern, search.text.count > scalarLength(search.text[0]) {
                    stages.append(WholeStage(step: step))
                } else if isFused, case .pattern = pattern {
                    stages.append(WholeStage(step: step))
                } else {
                    stages.append(ReplaceStage(pattern: pattern, content: content))
                }
            case .strip(let scalar, let start, let stop):
                if isFused {
                    stages.append(FusedStripStage(scalar: scalar, start: start, stop: stop))
                } else {
                    stages.append(StripStage(scalar: scalar, start: start, stop: stop))
                }
            case .metaspace(let replacement, let dropsFirst):
                stages.append(MetaspaceStage(replacement: replacement, dropsFirst: dropsFirst, isFused: isFused))
            }
        }
        return stages
    }
}

/// One stage of a running decoder.
protocol DecoderStage: Sendable {
    /// Takes the text of the next token and appends to `output` the texts of the tokens that it makes of it, as far as they are certain.
    mutating func take(_ token: [UInt8], to output: inout [[UInt8]])
    /// Appends what was held back.
    mutating func finish(to output: inout [[UInt8]])
}

extension DecoderStage {
    mutating func finish(to output: inout [[UInt8]]) {}
}
