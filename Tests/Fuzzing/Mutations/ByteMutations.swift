/// Changes that know nothing of the format.
enum ByteMutations {
    static let edges: [UInt64] = [
        0, 1, 7, 8, 9, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0xFFFF, 0x1_0000, 100_000_000, 100_000_001, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF,
        0x1_0000_0000, 0x7FFF_FFFF_FFFF_FFFF, 0x8000_0000_0000_0000, 0xFFFF_FFFF_FFFF_FFFF,
    ]

    static func mutate(_ input: inout [UInt8], _ random: inout FuzzRandom, _ target: FuzzTarget) {
        let place = random.below(input.count)
        switch random.below(10) {
        case 0 where !input.isEmpty: input[place] ^= 1 << UInt8(random.below(8))
        case 1 where !input.isEmpty: input[place] = random.byte()
        case 2: input.removeLast(input.count - place)
        case 3: input.insert(random.byte(), at: place)
        case 4: input.removeSubrange(random.range(in: input.count))
        case 5: input.insert(contentsOf: input[random.range(in: input.count)], at: place)
        case 6:
            let other = random.pick(target.seeds)
            input.replaceSubrange(random.range(in: input.count), with: other[random.range(in: other.count)])
        case 7: writeNumber(&input, at: place, &random)
        case 8 where !target.dictionary.isEmpty: input.insert(contentsOf: random.pick(target.dictionary).utf8, at: place)
        default: input.insert(contentsOf: repeatElement(random.byte(), count: random.pick([1, 2, 4, 8, 64, 300])), at: place)
        }
    }

    /// Writes a little-endian number of 1, 2, 4 or 8 bytes over the input: an edge, or what stands there and a little more or less.
    static func writeNumber(_ input: inout [UInt8], at place: Int, _ random: inout FuzzRandom) {
        let byteCount = random.pick([1, 2, 4, 8])
        guard place + byteCount <= input.count else { return }
        var number: UInt64 = 0
        for index in (0..<byteCount).reversed() { number = number << 8 | UInt64(input[place + index]) }
        number = random.chance(1, in: 2) ? random.pick(edges) : number &+ UInt64(random.below(33)) &- 16
        for index in 0..<byteCount { input[place + index] = UInt8(truncatingIfNeeded: number >> (8 * index)) }
    }

    /// Repeats a part until the input is nearly of so many bytes.
    static func amplify(_ input: inout [UInt8], _ random: inout FuzzRandom, _ byteCount: Int) {
        let range = random.range(in: input.count)
        guard !range.isEmpty, input.count < byteCount else { return }
        let part = Array(input[range])
        let count = (byteCount - input.count) / part.count
        input.insert(contentsOf: repeatElement(part, count: count).joined(), at: range.upperBound)
    }
}

extension FuzzFormat {
    static let bytes = FuzzFormat(mutate: ByteMutations.mutate, amplify: ByteMutations.amplify)
}
