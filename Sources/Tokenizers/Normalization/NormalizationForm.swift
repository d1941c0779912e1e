/// One of the four Unicode normalisation forms over UTF-8, by the pinned tables.
struct NormalizationForm: Sendable {
    static let nfc = NormalizationForm(compatibly: false, composing: true)
    static let nfd = NormalizationForm(compatibly: false, composing: false)
    static let nfkc = NormalizationForm(compatibly: true, composing: true)
    static let nfkd = NormalizationForm(compatibly: true, composing: false)

    private static let stable: UInt16 = 0
    /// The scalar changes, but nothing before it can interact with it.
    private static let boundary: UInt16 = 1
    /// The scalar may reorder or compose with what stands before it.
    private static let joining: UInt16 = 2

    private let compatibly: Bool
    private let composing: Bool
    /// One of the three values above for every scalar outside the Hangul syllables.
    private let behaviour: ScalarTable
    private let data = NormalizationData.shared

    private init(compatibly: Bool, composing: Bool) {
        self.compatibly = compatibly
        self.composing = composing
        var table = ScalarTable()
        let data = data
        data.forEachSpecial { scalar in
            var decomposed: [UInt32] = []
            data.decompose(scalar, compatibly: compatibly) { decomposed.append($0) }
            let first = decomposed[0]
            if data.combiningClass(first) != 0 || (composing && data.seconds.contains(first)) {
                table[scalar] = Self.joining
            } else {
                if composing { Self.compose(&decomposed, data) }
                table[scalar] = decomposed == [scalar] ? Self.stable : Self.boundary
            }
        }
        if composing {
            for second in data.seconds { table[second] = Self.joining }
        }
        behaviour = table
    }

    @inline(__always)
    private func behaviour(of scalar: UInt32) -> UInt16 {
        if !composing, Hangul.isSyllable(scalar) { return Self.boundary }
        return behaviour[scalar]
    }

    /// The normalised bytes, or nil where `bytes` are in this form already.
    ///
    /// Only stretches around scalars that can change are taken apart: plain text costs one table look-up a scalar.
    func normalized(_ bytes: [UInt8]) -> [UInt8]? {
        var result: [UInt8]?
        var copied = 0
        var index = 0
        var previous = 0
        while index < bytes.count {
            if bytes[index] < 0x80 {
                previous = index
                index += 1
                continue
            }
            let (scalar, next) = bytes.scalar(at: index)
            let kind = behaviour(of: scalar)
            if kind == Self.stable {
                previous = index
                index = next
                continue
            }
            // The stretch starts at the last scalar that cannot join backwards, and ends before the next such one.
            let start = kind == Self.joining ? previous : index
            var end = next
            var last = index
            while end < bytes.count {
                let (following, behind) = bytes.scalar(at: end)
                if bytes[end] < 0x80 || behaviour(of: following) != Self.joining { break }
                last = end
                end = behind
            }
            var output = result ?? []
            if result == nil { output.reserveCapacity(bytes.count + bytes.count / 8) }
            result = nil
            output.append(contentsOf: bytes[copied..<start])
            appendNormalized(bytes, start, end, to: &output)
            result = output
            copied = end
            index = end
            previous = max(last, copied)
        }
        guard var output = result else { return nil }
        output.append(contentsOf: bytes[copied...])
        return output
    }

    private func appendNormalized(_ bytes: [UInt8], _ start: Int, _ end: Int, to output: inout [UInt8]) {
        var scalars: [UInt32] = []
        var index = start
        while index < end {
            let (scalar, next) = bytes.scalar(at: index)
            data.decompose(scalar, compatibly: compatibly) { scalars.append($0) }
            index = next
        }
        Self.reorder(&scalars, data)
        if composing { Self.compose(&scalars, data) }
        for scalar in scalars { output.append(scalar: scalar) }
    }

    /// Sorts every run of marks by combining class, keeping the order of equals.
    private static func reorder(_ scalars: inout [UInt32], _ data: NormalizationData) {
        var index = 0
        while index < scalars.count {
            guard data.combiningClass(scalars[index]) != 0 else {
                index += 1
                continue
            }
            var end = index
            var keys: [UInt64] = []
            while end < scalars.count {
                let combiningClass = data.combiningClass(scalars[end])
                if combiningClass == 0 { break }
                keys.append(UInt64(combiningClass) << 56 | UInt64(end - index) << 24 | UInt64(scalars[end]))
                end += 1
            }
            if keys.count > 1 {
                keys.sort()
                for (offset, key) in keys.enumerated() { scalars[index + offset] = UInt32(truncatingIfNeeded: key & 0xFFFFFF) }
            }
            index = end
        }
    }

    /// The canonical composition algorithm over decomposed, ordered scalars.
    private static func compose(_ scalars: inout [UInt32], _ data: NormalizationData) {
        var starter: Int?
        var lastClass: UInt8 = 0
        var count = 0
        for index in scalars.indices {
            let scalar = scalars[index]
            let combiningClass = data.combiningClass(scalar)
            let isBlocked = starter.map { count - 1 > $0 && lastClass >= combiningClass } ?? true
            if let position = starter, !isBlocked, let composite = data.compose(scalars[position], scalar) {
                scalars[position] = composite
                continue
            }
            scalars[count] = scalar
            if combiningClass == 0 { starter = count }
            lastClass = combiningClass
            count += 1
        }
        scalars.removeLast(scalars.count - count)
    }
}
