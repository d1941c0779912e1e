/// A byte-pair model: splits a word into characters and merges neighbours in the order of their ranks.
///
/// The rules are those of `tokenizers`' BPE, its quirks included: with `byte_fallback`, the bytes of a character go before an unknown token that
/// is still waiting to be fused.
struct BytePairModel: Sendable {
    var vocabulary = Vocabulary()
    var merges = MergeTable()
    /// -1 where there is none; characters that the vocabulary lacks are then left out.
    var unknownID: Int32 = -1
    var fusesUnknown = false
    /// A word that is a token needs no merging.
    var ignoresMerges = false
    /// [byte] the id of `<0xHH>` or -1; empty without byte fallback
    var fallbackIDs: [Int32] = []
    /// [ASCII] the id of the character or -1
    var asciiIDs: [Int32] = []
    /// [byte] the id of the character of the byte alphabet, when the vocabulary has all 256; else empty
    var byteIDs: [Int32] = []
    /// Whether no merge joins `▁` to something else before it: then words can be cut there, and the pieces cached.
    var cutsAtMark = false

    private static let shortWord = 24
    static let mark: [UInt8] = [0xE2, 0x96, 0x81]

    /// Computes what is derived from the vocabulary. `canCutAtMark` is what the reader of the merges found.
    mutating func finish(byteFallback: Bool, canCutAtMark: Bool) {
        asciiIDs = (0..<128).map { vocabulary.id(of: [UInt8($0)]) }
        if byteFallback {
            let digits = Array("0123456789ABCDEF".utf8)
            fallbackIDs = (0..<256).map { vocabulary.id(of: Array("<0x".utf8) + [digits[$0 >> 4], digits[$0 & 15]] + Array(">".utf8)) }
        }
        let ids = ByteAlphabet.scalars.map { scalar in
            var character: [UInt8] = []
            character.append(scalar: scalar)
            return vocabulary.id(of: character)
        }
        byteIDs = ids.contains(-1) ? [] : ids
        cutsAtMark = canCutAtMark && vocabulary.id(of: Self.mark) >= 0
    }

    // MARK: Words

    /// Appends the ids of the word `text[range]`.
    func encode(_ text: [UInt8], _ range: Range<Int>, _ scratch: EncodingScratch, to output: inout [Int32]) {
        if ignoresMerges {
            let id = vocabulary.id(of: text, range)
            if id >= 0 {
                output.append(id)
                return
            }
        }
        guard cutsAtMark, range.count > 3 else {
            encodeCached(text, range, scratch, to: &output) { fillSymbols($0, $1, $2) }
            return
        }
        // A piece starts at every mark that does not follow a mark.
        var start = range.lowerBound
        var index = start
        var isBehindMark = true
        while index < range.upperBound {
            if text[index] == Self.mark[0], index + 3 <= range.upperBound, text[index + 1] == Self.mark[1], text[index + 2] == Self.mark[2] {
                if !isBehindMark {
                    encodeCached(text, start..<index, scratch, to: &output) { fillSymbols($0, $1, $2) }
                    start = index
                }
                isBehindMark = true
                index += 3
            } else {
                isBehindMark = false
                index += 1
            }
        }
        encodeCached(text, start..<range.upperBound, scratch, to: &output) { fillSymbols($0, $1, $2) }
    }

    /// Appends the ids of the word whose characters stand for the bytes `text[range]`.
    func encodeBytes(_ text: [UInt8], _ range: Range<Int>, _ scratch: EncodingScratch, to output: inout [Int32]) {
        if ignoresMerges || byteIDs.isEmpty {
            var mapped = scratch.mapped
            scratch.mapped = []
            mapped.removeAll(keepingCapacity: true)
            ByteAlphabet.append(text, range, to: &mapped)
            if byteIDs.isEmpty {
                encode(mapped, 0..<mapped.count, scratch, to: &output)
                scratch.mapped = mapped
                return
            }
            let id = vocabulary.id(of: mapped, 0..<mapped.count)
            scratch.mapped = mapped
            if id >= 0 {
                output.append(id)
                return
            }
        }
        encodeCached(text, range, scratch, to: &output) { text, range, scratch in
            for index in range { scratch.symbols.append(byteIDs[Int(text[index])]) }
        }
    }

    @inline(__always)
    private func encodeCached(
        _ text: [UInt8], _ range: Range<Int>, _ scratch: EncodingScratch, to output: inout [Int32],
        _ fill: ([UInt8], Range<Int>, EncodingScratch) -> Void
    ) {
        guard range.count <= WordCache.maximumWordLength else {
            scratch.symbols.removeAll(keepingCapacity: true)
            fill(text, range, scratch)
            merge(scratch, to: &output)
            return
        }
        let hash = scratch.cache.hash(text, range)
        if scratch.cache.append(text, range, hash: hash, to: &output) { return }
        let start = output.count
        scratch.symbols.removeAll(keepingCapacity: true)
        fill(text, range, scratch)
        merge(scratch, to: &output)
        scratch.cache.insert(text, range, hash: hash, ids: output[start...])
    }

    /// The ids of the word's characters.
    private func fillSymbols(_ text: [UInt8], _ range: Range<Int>, _ scratch: EncodingScratch) {
        var isUnknownPending = false
        var index = range.lowerBound
        while index < range.upperBound {
            let byte = text[index]
            let end = index + scalarLength(byte)
            let id = byte < 0x80 ? asciiIDs[Int(byte)] : vocabulary.id(of: text, index..<end)
            if id >= 0 {
                if isUnknownPending { scratch.symbols.append(unknownID) }
                isUnknownPending = false
                scratch.symbols.append(id)
            } else if !fallbackIDs.isEmpty, (index..<end).allSatisfy({ fallbackIDs[Int(text[$0])] >= 0 }) {
                for position in index..<end { scratch.symbols.append(fallbackIDs[Int(text[position])]) }
            } else if unknownID >= 0 {
                if isUnknownPending, !fusesUnknown { scratch.symbols.append(unknownID) }
                isUnknownPending = true
            }
            index = end
        }
        if isUnknownPending { scratch.symbols.append(unknownID) }
    }

    // MARK: Merging

    private func merge(_ scratch: EncodingScratch, to output: inout [Int32]) {
        if scratch.symbols.count <= Self.shortWord { mergeShort(scratch) } else { mergeLong(scratch) }
        for symbol in scratch.symbols where symbol >= 0 { output.append(symbol) }
    }

    /// Looks for the best merge among all neighbours again and again.
    private func mergeShort(_ scratch: EncodingScratch) {
        var symbols = scratch.symbols
        var entries = scratch.entries
        scratch.symbols = []
        scratch.entries = []
        defer {
            scratch.symbols = symbols
            scratch.entries = entries
        }
        entries.removeAll(keepingCapacity: true)
        for index in symbols.indices.dropLast() { entries.append(merges.entry(symbols[index], symbols[index + 1])) }
        while true {
            var best = MergeTable.none
            var position = -1
            for (index, entry) in entries.enumerated() where entry < best {
                best = entry
                position = index
            }
            guard position >= 0 else { return }
            symbols[position] = MergeTable.merged(best)
            symbols.remove(at: position + 1)
            entries.remove(at: position)
            if position > 0 { entries[position - 1] = merges.entry(symbols[position - 1], symbols[position]) }
            if position < entries.count { entries[position] = merges.entry(symbols[position], symbols[position + 1]) }
        }
    }

    /// A heap of all possible merges over a linked list of symbols: O(n log n).
    private func mergeLong(_ scratch: EncodingScratch) {
        var symbols = scratch.symbols
        var entries = scratch.entries
        var next = scratch.next
        var previous = scratch.previous
        var heap = scratch.heap
        scratch.symbols = []
        scratch.entries = []
        scratch.next = []
        scratch.previous = []
        scratch.heap = MergeHeap()
        defer {
            scratch.symbols = symbols
            scratch.entries = entries
            scratch.next = next
            scratch.previous = previous
            scratch.heap = heap
        }
        let count = symbols.count
        entries.removeAll(keepingCapacity: true)
        next.removeAll(keepingCapacity: true)
        previous.removeAll(keepingCapacity: true)
        heap.removeAll()
        for index in 0..<count {
            next.append(index + 1)
            previous.append(index - 1)
            let entry = index + 1 < count ? merges.entry(symbols[index], symbols[index + 1]) : MergeTable.none
            entries.append(entry)
            if entry != MergeTable.none { heap.appendUnordered(MergeHeap.item(entry, index)) }
        }
        heap.heapify()
        while let item = heap.popMinimum() {
            let index = MergeHeap.symbol(item)
            let entry = entries[index]
            // Out of date where the symbol is gone or has another neighbour by now.
            guard entry != MergeTable.none, entry >> 32 == MergeHeap.rank(item) else { continue }
            let right = next[index]
            symbols[index] = MergeTable.merged(entry)
            symbols[right] = -1
            entries[right] = MergeTable.none
            let following = next[right]
            next[index] = following
            if following < count {
                previous[following] = index
                entries[index] = merges.entry(symbols[index], symbols[following])
                if entries[index] != MergeTable.none { heap.insert(MergeHeap.item(entries[index], index)) }
            } else {
                entries[index] = MergeTable.none
            }
            let before = previous[index]
            if before >= 0 {
                entries[before] = merges.entry(symbols[before], symbols[index])
                if entries[before] != MergeTable.none { heap.insert(MergeHeap.item(entries[before], before)) }
            }
        }
    }
}
