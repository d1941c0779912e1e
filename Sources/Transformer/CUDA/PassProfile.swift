package import CUDA

/// What a pass is made of, for measuring.
package enum PassStep: String, Sendable, CaseIterable {
    case embed = "embedding gather + first norm"
    case queryKeyValue = "QKV product"
    case queryKeyNorm = "QK-norm + rope"
    case windowedAttention = "windowed attention"
    case attention = "full attention"
    case output = "output product"
    case residual = "residual + norms"
    case gateUp = "gate and up product"
    case down = "down product"
    case layer = "output, gate and up, down, next QKV"
    case pool = "pooling, norm, length"
}

/// Times the steps of passes by events between them. The events keep kernels from overlapping, so the sum is more than an unmeasured pass takes.
package final class PassProfile {
    private let context: Context
    private var marks: [(step: PassStep?, event: Event)] = []

    package init(_ context: Context) { self.context = context }

    func start(on stream: Stream) throws { try add(nil, stream) }

    func mark(_ step: PassStep, on stream: Stream) throws { try add(step, stream) }

    private func add(_ step: PassStep?, _ stream: Stream) throws {
        let event = try Event(context)
        try stream.record(event)
        marks.append((step, event))
    }

    /// The time of each step in all, and how often it ran. Waits for the last of them.
    package func times() throws -> [(step: PassStep, time: Duration, count: Int)] {
        try marks.last?.event.synchronize()
        var times: [PassStep: (time: Duration, count: Int)] = [:]
        for (before, mark) in zip(marks, marks.dropFirst()) {
            guard let step = mark.step else { continue }
            let (time, count) = times[step] ?? (.zero, 0)
            times[step] = (time + (try mark.event.elapsed(since: before.event)), count + 1)
        }
        return PassStep.allCases.compactMap { step in times[step].map { (step, $0.time, $0.count) } }
    }
}
