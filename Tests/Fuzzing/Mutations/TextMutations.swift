/// Changes for formats that are text with words and brackets, such as templates.
enum TextMutations {
    /// Pieces that readers of text stumble over: broken UTF-8, marks, controls, characters outside the basic plane.
    static let pieces: [[UInt8]] =
        [[0xFF], [0xC3], [0xED, 0xA0, 0x80], [0xF0, 0x9F], [0xEF, 0xBB, 0xBF], [0x00], [0x7F]]
        + ["\u{301}\u{323}", "e\u{301}", "🕊", "👨‍👩‍👧", "\u{FFFD}", "\u{2028}", "\r\n", "\u{202E}", "\u{1F1E6}", "한", "\u{1100}\u{1161}", "İ", "ß"].map {
            Array($0.utf8)
        }

    static func mutate(_ input: inout [UInt8], _ random: inout FuzzRandom, _ target: FuzzTarget) {
        let place = random.below(input.count + 1)
        switch random.below(9) {
        case 0...2 where !target.dictionary.isEmpty:
            let word = Array(random.pick(target.dictionary).utf8)
            // Long runs of one word show what recursion costs.
            let count = random.chance(1, in: 30) ? random.pick([2, 16, 127, 128, 129, 1000, 10_000]) : 1
            input.insert(contentsOf: repeatElement(word, count: count).joined(), at: place)
        case 3:
            let piece = random.pick(pieces)
            let count = random.chance(1, in: 30) ? random.pick([2, 100, 10_000]) : 1
            input.insert(contentsOf: repeatElement(piece, count: count).joined(), at: place)
        case 4: input.replaceSubrange(random.range(in: input.count), with: Array(random.pick(JSONMutations.numbers).utf8))
        case 5:
            let other = random.pick(target.seeds)
            input.insert(contentsOf: other[random.range(in: other.count)], at: place)
        default: ByteMutations.mutate(&input, &random, target)
        }
    }
}

extension FuzzFormat {
    static let text = FuzzFormat(mutate: TextMutations.mutate, amplify: ByteMutations.amplify)
}
