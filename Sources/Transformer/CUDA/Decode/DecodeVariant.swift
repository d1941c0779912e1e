/// A form of the megakernel with one of its techniques changed: what the technique is worth.
package struct DecodeVariant: Sendable, Hashable {
    /// What is changed, such as "no pace of the stream".
    package let name: String
    /// Whether weights go through shared memory.
    package let hasRing: Bool
    /// Positions that a layer sees up to which its attention is not shared out; nil for the kernel's own.
    package let unsharedPositions: Int?
    private let values: [String: Value]

    private enum Value: Sendable, Hashable {
        case number(Int)
        /// Pieces of the ring.
        case ringSlots
        /// Groups of blocks of the plan.
        case groups
    }

    private init(_ name: String, _ values: [String: Value] = [:], hasRing: Bool = true, unsharedPositions: Int? = nil) {
        self.name = name
        self.values = values
        self.hasRing = hasRing
        self.unsharedPositions = unsharedPositions
    }

    /// The names of ``constants(_:ringSlots:)``.
    package var constantNames: [String] { values.keys.sorted() }

    /// Constants of the kernel that differ.
    func constants(groups: Int, ringSlots: Int) -> [String: Int] {
        values.mapValues { value in
            switch value {
            case .number(let number): number
            case .ringSlots: max(1, ringSlots)
            case .groups: groups
            }
        }
    }

    /// Each technique without the others being changed.
    package static let ablations = [
        DecodeVariant("no ring: weights from memory to registers", hasRing: false),
        DecodeVariant(
            "nothing in registers ahead of an exchange",
            [
                "DECODE_PRELOAD": .number(0), "DECODE_EARLY_PRELOAD": .number(0), "DECODE_OUTPUT_PRELOAD": .number(0),
            ]),
        DecodeVariant("gate and up ahead of an exchange as a whole", ["DECODE_EARLY_PRELOAD": .number(24)]),
        DecodeVariant("no pace of the stream", ["DECODE_PACE": .number(0)]),
        DecodeVariant("16 KB on their way at most", ["DECODE_FLIGHT": .number(1)]),
        DecodeVariant("64 KB on their way, no pace", ["DECODE_FLIGHT": .number(4), "DECODE_PACE": .number(0)]),
        DecodeVariant("the whole ring on its way, no pace", ["DECODE_FLIGHT": .ringSlots, "DECODE_PACE": .number(0)]),
        DecodeVariant("32 KB on their way in the head too", ["DECODE_HEAD_FLIGHT": .number(2)]),
        DecodeVariant("feed-forward part in the key heads' groups", ["DECODE_FEEDS": .groups]),
        DecodeVariant("counters waited for to the last arrival", ["DECODE_EARLY": .number(0), "DECODE_GATED_EARLY": .number(0)]),
        DecodeVariant("rows of the cache when they are needed, not a layer ahead", ["DECODE_STAGE": .number(0)]),
        DecodeVariant("up to 256 positions shared out in the group, not in pairs", ["DECODE_PAIR_ROWS": .number(0)]),
        DecodeVariant("attention always shared out", unsharedPositions: 0),
        DecodeVariant("attention never shared out", unsharedPositions: .max),
    ]
}
