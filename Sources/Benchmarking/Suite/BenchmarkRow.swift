/// Whether a result was looked at, and what was found.
package enum BenchmarkCheck: Sendable, Equatable {
    /// Held against a reference; the words say against what and how far it was off.
    case passed(String)
    case failed(String)
    /// Another program's result, or one that has no reference here.
    case unchecked(String)

    package var mark: String {
        switch self {
        case .passed: "✓"
        case .failed: "✗"
        case .unchecked: "-"
        }
    }

    package var text: String {
        switch self {
        case .passed(let text), .failed(let text), .unchecked(let text): text
        }
    }

    package var isFailure: Bool { if case .failed = self { true } else { false } }
}

/// Whose row it is.
package enum BenchmarkRole: String, Sendable {
    case ours
    /// Another system that does the same work; ours is compared with it.
    case peer
    /// Something else that tells what a time is worth, such as a copy of the same bytes or a part of the work.
    case yardstick
}

/// One way of doing a piece of work, with its times.
package struct BenchmarkRow: Sendable, Equatable {
    /// Who does it, such as "apus" or "cuBLASLt".
    package let name: String
    package let role: BenchmarkRole
    /// Seconds of one call, one number for each run, in the order of the runs.
    package let samples: [Double]
    package let spread: Spread
    package let check: BenchmarkCheck
    /// A remark, such as the variant that was used.
    package var note: String

    /// Nil where the samples hold anything but positive finite times.
    package init?(name: String, role: BenchmarkRole, samples: [Double], check: BenchmarkCheck, note: String = "") {
        guard samples.allSatisfy({ $0 > 0 }), let spread = Spread(samples) else { return nil }
        self.name = name
        self.role = role
        self.samples = samples
        self.spread = spread
        self.check = check
        self.note = note
    }
}

/// One piece of work and all who did it, in one run.
package struct BenchmarkGroup: Sendable, Equatable {
    /// What is done, with its sizes and types: the name that rows of other reports are found by.
    package let title: String
    /// The section of the report, such as "gemm".
    package let section: String
    package let work: Work
    package var rows: [BenchmarkRow]
    /// Why rows that were expected are missing.
    package var remarks: [String] = []

    package init(title: String, section: String, work: Work, rows: [BenchmarkRow], remarks: [String] = []) {
        self.title = title
        self.section = section
        self.work = work
        self.rows = rows
        self.remarks = remarks
    }

    /// Our first row.
    package var ours: BenchmarkRow? { rows.first { $0.role == .ours } }

    /// How much faster ours is than the fastest peer: the peer's median over ours; nil without one of them.
    package var speedup: Double? {
        guard let ours, let peer = rows.filter({ $0.role == .peer }).map(\.spread.median).min() else { return nil }
        return peer / ours.spread.median
    }

    package var hasFailure: Bool { rows.contains { $0.check.isFailure } }
}
