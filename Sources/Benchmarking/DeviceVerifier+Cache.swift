import Apus
import Tensors
import Transformer

/// A cache of codes: written by the rule, read right, and what it costs against a cache in bf16.
///
/// Rounding to three bits of mantissa turns differences of a thousandth into steps of up to an eighth here and there, so logits behind two caches that
/// differ in that much only lie further apart than in bf16. The reading is therefore held against the CPU behind the very same cache, and as closely
/// as in bf16; the writing row by row.
extension DeviceVerifier {
    /// Norm of the difference over the norm of a layer's keys or values behind a text. Activations rounded to bf16 give 0.02 to 0.07; another head's
    /// factor, or rows one place off, 0.3 and more.
    static let cacheRowBound = 0.1
    /// Likewise of logits, at any position, of two caches by the same rule; activations rounded to bf16 give 0.01 to 0.07.
    static let cacheLogitBound = 0.15
    /// Behind the same rows, where bf16 rounds the activations of single tokens too: their own rows differ then, which gives up to 0.017 behind 27 tokens.
    /// The resident kernel, which does not round so, stays 10 times below the bound of bf16. One position of 27 that is another's gives 0.066.
    static let cacheStepBound = 0.05
    /// Of one text in one piece and in several on the same GPU: mostly none at all.
    static let cachePieceBound = 0.05
    /// What the rounding may cost: KL in the mean of all positions, and the largest. Qwen3-0.6B's shape with random weights, the hardest case, has 0.026
    /// and 0.047.
    static let cacheLossBounds = (mean: 0.1, largest: 0.5)

    /// Tokens of a text that are computed one by one.
    private static let singleTokens = 6

    func checkCache(_ sequences: [[Int32]], _ report: (ModelVerifier.Check) throws -> Void) throws {
        try checkCoding(report)
        // Where single tokens are computed with codes of the weights, by the same rounded weights.
        let weights = hasCodes ? try model.weights.roundedToCodes() : model.weights
        let steps = try CPUExecutor(spec: model.spec, weights: weights, threads: threads, cacheFormat: .float8)
        let exact = try CPUExecutor(spec: model.spec, weights: weights, threads: threads)
        for ids in sequences where Self.lengths.contains(ids.count) {
            try checkRows(ids, steps, report)
            try checkPieces(ids, report)
            if ids.count <= Self.teacherForced { try checkLoss(ids, steps, exact, report) }
        }
    }

    /// Tokens of the texts; longer ones take the CPU too long position by position.
    private static let lengths = [33, 129, 513], teacherForced = 129

    /// The kernel against the CPU's rule, bit for bit.
    private func checkCoding(_ report: (ModelVerifier.Check) throws -> Void) throws {
        let rows = CacheRowCases.rows(width: model.spec.headDimension, seed: 1)
        let found = try device.codeRows(rows)
        func bits(_ values: [Float]) -> [UInt16] { values.map { $0.isNaN ? .max : BFloat16($0).bitPattern } }
        let wrong = zip(rows, found).count { row, found in
            let expected = CodedCacheRow(row)
            return found.coded != expected || bits(found.own) != bits(expected.values) || bits(found.later) != bits(expected.values)
        }
        try report(.init(name: "fp8 cache: \(rows.count) rows coded otherwise", value: Double(wrong), bound: 0, isLowerBound: false))
    }

    /// Most of a text in a pass, which is held against the CPU's; then token by token, each held against the CPU behind the very same rows.
    private func checkRows(_ ids: [Int32], _ steps: CPUExecutor, _ report: (ModelVerifier.Check) throws -> Void) throws {
        let name = "fp8 cache, \(ids.count) tokens: "
        let session = try device.makeSession()
        let prompt = Array(ids.dropLast(Self.singleTokens))
        _ = try session.extend(prompt)
        let passed = try cachedRows(session)
        let own = try reference.makeSession()
        _ = try own.extend(prompt)
        try report(
            .init(
                name: name + "rows of a pass", value: try rowError(passed, reference, own, from: 0), bound: Self.cacheRowBound, isLowerBound: false))

        let beside = try steps.makeSession(behind: passed)
        var logitErrors: [Double] = []
        let stepBound = device.decodeForm?.isResident == true ? bounds.logits : max(bounds.logits, Self.cacheStepBound)
        for id in ids.suffix(Self.singleTokens) {
            logitErrors.append(Self.relativeError(try session.extend([id]), try beside.extend([id])))
        }
        try report(
            .init(name: name + "logits behind the same rows", value: Self.worst(logitErrors), bound: stepBound, isLowerBound: false))
        try report(
            .init(
                name: name + "rows of single tokens", value: try rowError(cachedRows(session), steps, beside, from: prompt.count),
                bound: Self.cacheRowBound, isLowerBound: false))
        let loose = try model.spec.layers.indices.reduce(0) { try $0 + device.codedRows(of: session, layer: $1).count { !Self.isLeast($0) } }
        try report(.init(name: name + "factors larger than need be", value: Double(loose), bound: 0, isLowerBound: false))
    }

    /// One text in one piece and in two, behind one another on the same GPU.
    private func checkPieces(_ ids: [Int32], _ report: (ModelVerifier.Check) throws -> Void) throws {
        let (session, half) = (try device.makeSession(), ids.count / 2)
        _ = try session.extend(Array(ids[..<half]))
        let pieces = try session.extend(Array(ids[half...]))
        let whole = try device.makeSession().extend(ids)
        try report(
            .init(
                name: "fp8 cache, \(ids.count) tokens: two pieces and one", value: Self.relativeError(pieces, whole), bound: Self.cachePieceBound,
                isLowerBound: false))
    }

    /// What a session's cache reads as, a layer each: `[2, position, G, D]`.
    private func cachedRows(_ session: any DecoderSession) throws -> [[Float]] {
        try model.spec.layers.indices.map { try device.codedRows(of: session, layer: $0).flatMap(\.values) }
    }

    /// The largest error of a layer's keys or values from a position on.
    private func rowError(_ actual: [[Float]], _ executor: CPUExecutor, _ session: any DecoderSession, from start: Int) throws -> Double {
        let row = model.spec.keyValueHeads * model.spec.headDimension
        return Self.worst(
            try actual.enumerated().flatMap { layer, actual in
                let expected = try executor.cachedRows(of: session, layer: layer)
                return (0..<2).map { half in
                    func part(_ values: [Float]) -> [Float] {
                        let size = values.count / 2
                        return Array(values[half * size + min(size, start * row)..<(half + 1) * size])
                    }
                    return Self.relativeError(part(actual), part(expected))
                }
            })
    }

    private static func worst(_ errors: [Double]) -> Double { errors.contains { $0.isNaN } ? .nan : errors.max() ?? .nan }

    /// Whether no smaller factor would do for a row: its largest code is more than half of the largest that there is.
    private static func isLeast(_ row: CodedCacheRow) -> Bool {
        let largest = row.codes.map { $0 & 0x7F }.max() ?? 0
        return row.exponent == 1 || (0x76...0x7F).contains(largest) || (largest == 0 && row.exponent == 127)
    }

    /// Every position against the CPU by the same rule, and against a cache that is not rounded.
    private func checkLoss(
        _ ids: [Int32], _ rounded: CPUExecutor, _ exact: CPUExecutor, _ report: (ModelVerifier.Check) throws -> Void
    ) throws {
        let (actual, same, whole) = (try logits(device, ids), try logits(rounded, ids), try logits(exact, ids))
        let name = "fp8 cache, \(ids.count) tokens: "
        try report(
            .init(
                name: name + "logits, same rule", value: zip(actual, same).map(Self.relativeError).max() ?? .nan, bound: Self.cacheLogitBound,
                isLowerBound: false))
        let losses = zip(actual, whole).map(Self.divergence)
        let mean = losses.reduce(0, +) / Double(losses.count)
        try report(.init(name: name + "KL to a bf16 cache, mean", value: mean, bound: Self.cacheLossBounds.mean, isLowerBound: false))
        try report(
            .init(name: name + "KL to a bf16 cache, largest", value: losses.max() ?? .nan, bound: Self.cacheLossBounds.largest, isLowerBound: false))
        let agreeing = zip(actual, whole).count { Self.likeliest($0) == Self.likeliest($1) }
        try report(
            .init(
                name: name + "likeliest token as bf16", value: Double(agreeing) / Double(ids.count), bound: Self.agreementBound, isLowerBound: true))
    }
}
