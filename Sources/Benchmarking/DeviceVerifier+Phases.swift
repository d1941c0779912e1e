import Apus
package import Transformer

/// What every layer computes on its way against the CPU's: a fault is named by the first phase that it shows in.
extension DeviceVerifier {
    private static let phaseTokens = 257

    func checkPhases(_ report: (ModelVerifier.Check) throws -> Void) throws {
        let ids = randomIDs(min(Self.phaseTokens, model.spec.maximumPositions), stream: "phases")
        let batch = TokenBatch([ids])
        var expected: [[LayerPhase: [Float]]] = model.spec.layers.map { _ in [:] }
        try reference.phases(batch) { layer, phase, rows in expected[layer][phase] = rows }

        var worst = WorstPhases()
        try device.phases(batch) { layer, phase, rows in worst.note(rows, expected[layer][phase], phase, layer) }
        var roundings = WorstPhases()
        if !worst.errors.values.allSatisfy({ $0.error <= bounds.phase }) {
            try rounding.executor().phases(batch) { layer, phase, rows in roundings.note(rows, expected[layer][phase], phase, layer) }
        }
        try summarize(worst, roundings, "of \(ids.count) tokens", report)

        // What single tokens leave in the cache, where another kernel than the prompt's computes them.
        guard model.hasHead, !model.spec.isBidirectional, !hasCodes, device.precision == .bfloat16, device.cacheFormat == .bfloat16 else { return }
        let session = try device.makeSession()
        guard device.decodeForm?.isResident == true else { return }
        try session.extend(ids) { _, _ in }
        var cached = WorstPhases()
        for layer in model.spec.layers.indices {
            let rows = try device.cachedRows(of: session, layer: layer)
            cached.note(rows.keys, expected[layer][.keys], .keys, layer)
            cached.note(rows.values, expected[layer][.values], .values, layer)
        }
        try summarize(cached, WorstPhases(), "of \(ids.count) single tokens", report)
    }

    /// - Parameter roundings: what they alone do; nothing where the fixed bound is to hold.
    private func summarize(
        _ worst: WorstPhases, _ roundings: WorstPhases, _ name: String, _ report: (ModelVerifier.Check) throws -> Void
    ) throws {
        for phase in LayerPhase.allCases {
            guard let (layer, error) = worst.errors[phase] else { continue }
            let bound = roundings.errors[phase].map { RoundingReference.bound(bounds.phase, roundings: $0.error) } ?? bounds.phase
            try report(.init(name: "\(phase.rawValue) \(name), worst in layer \(layer)", value: error, bound: bound, isLowerBound: false))
        }
    }
}

/// The layer in which each phase is furthest off. An error that is no number is the furthest of all.
package struct WorstPhases {
    package private(set) var errors: [LayerPhase: (layer: Int, error: Double)] = [:]

    package init() {}

    package mutating func note(_ actual: [Float], _ expected: [Float]?, _ phase: LayerPhase, _ layer: Int) {
        let error = expected.map { DeviceVerifier.relativeError(actual, $0) } ?? .infinity
        guard let known = errors[phase] else { return errors[phase] = (layer, error) }
        if !(error <= known.error), !known.error.isNaN { errors[phase] = (layer, error) }
    }
}
