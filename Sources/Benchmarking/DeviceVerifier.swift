package import Apus
import Foundation
package import Transformer

/// Holds a GPU's executor against the CPU's on the same weights: the hidden state behind every layer, vectors, logits.
///
/// The CPU computes in fp32 with the weights as they lie in the file, so the differences are the roundings of bf16 activations, and of the weights
/// where the file holds more than bf16. Where they are more than a fixed bound allows, ``RoundingReference`` says what roundings do to this model.
package struct DeviceVerifier {
    /// A fault that a wrong implementation might have.
    package enum Fault: String, CaseIterable, Sendable {
        /// All layers rotate by the base of the last one, as the published benchmark does; where they do anyhow, by a hundredth of it.
        case ropeBase = "rope-base"
        /// No layer has a window.
        case window
        /// Embedding rows are not scaled; where they are not anyhow, they are doubled.
        case embeddingScale = "embedding-scale"
        /// Norms add 1 to weights that are whole, or nothing to those that lack it.
        case normOffset = "norm-offset"
        /// The other activation.
        case activation
    }

    /// What a precision must keep to.
    package struct Bounds {
        /// Norm of the difference over the norm of the CPU's hidden state, in any layer.
        package let hidden: Double
        /// Of a vector with the CPU's.
        package let vector: Double
        /// Norm of the difference over the norm of what the CPU has, of any phase of any layer.
        package let phase: Double
        /// Norm of the difference over the norm of the CPU's logits about their mean.
        package let logits: Double

        package init(_ precision: MatrixPrecision) {
            // A cosine of 0.995 is an error of a tenth.
            (hidden, phase, vector, logits) = precision == .bfloat16 ? (0.02, 0.03, 0.9999, 0.02) : (0.1, 0.15, 0.995, 0.1)
        }
    }

    /// Of a vector with that of the same text in other company.
    static let companyBound = 0.99999

    let model: LoadedModel
    let device: CUDAExecutor
    let reference: CPUExecutor
    let rounding: RoundingReference
    /// Of the CPU's executors; nil for one a processor.
    let threads: Int?
    private let seed: UInt64
    /// Whether single tokens are computed with E4M3 codes.
    var hasCodes: Bool { device.decodeWeightBits == 8 }
    let bounds: Bounds
    /// A cache of codes lets differences grow: ``cacheLogitBound``.
    private var logitBound: Double { device.cacheFormat == .float8 ? max(bounds.logits, Self.cacheLogitBound) : bounds.logits }

    package init(model: LoadedModel, device: CUDAExecutor, threads: Int?, seed: UInt64, fault: Fault?) throws {
        self.model = model
        self.device =
            try fault.map {
                try CUDAExecutor(
                    spec: $0.applied(to: model.spec), weights: model.weights, device: device.device, path: device.path, fusion: device.fusion,
                    precision: device.precision, groupRows: device.groupRows, decoding: device.decoding, decodeWeights: device.decodeWeights,
                    cacheFormat: device.cacheFormat)
            } ?? device
        reference = try CPUExecutor(spec: model.spec, weights: model.weights, threads: threads, cacheFormat: device.cacheFormat)
        rounding = RoundingReference(model, threads: threads, cacheFormat: device.cacheFormat)
        self.threads = threads
        self.seed = seed
        bounds = Bounds(device.precision)
    }

    package func run(report: (ModelVerifier.Check) throws -> Void) throws {
        let lengths = [1, 31, 32, 33, 127, 128, 129, 511, 512, 513, 2048].filter { $0 <= model.spec.maximumPositions }
        let sequences = lengths.map { randomIDs($0, stream: "encode \($0)") }
        for ids in sequences.suffix(1) { try checkLayers(ids, report) }
        try checkPhases(report)
        try checkVectors(sequences, report)
        guard model.hasHead, !model.spec.isBidirectional else { return }
        try checkLogits(sequences.filter { $0.count <= 513 }, report)
        if device.cacheFormat == .float8 {
            try checkCache(sequences.filter { $0.count <= 513 }, report)
        } else if hasCodes {
            try checkCodes(sequences.filter { $0.count <= 129 }, report)
        } else if device.precision == .bfloat16 {
            try checkPositions(report)
        }
        if device.decodeForm?.isResident == true { try DecodeVerifier(model: model, executor: device, seed: seed).run(report: report) }
    }

    private func checkLayers(_ ids: [Int32], _ report: (ModelVerifier.Check) throws -> Void) throws {
        let batch = TokenBatch([ids])
        var expected: [[Float]] = []
        try reference.hiddenStates(batch) { _, hidden in expected.append(hidden) }
        var errors: [Double] = []
        try device.hiddenStates(batch) { layer, hidden in errors.append(Self.relativeError(hidden, expected[layer])) }
        var allowed = [Double](repeating: bounds.hidden, count: errors.count)
        if !errors.allSatisfy({ $0 <= bounds.hidden }) {
            try rounding.executor().hiddenStates(batch) { layer, hidden in
                allowed[layer] = RoundingReference.bound(bounds.hidden, roundings: Self.relativeError(hidden, expected[layer]))
            }
        }
        for (layer, (error, bound)) in zip(errors, allowed).enumerated() {
            try report(.init(name: "hidden state behind layer \(layer), \(ids.count) tokens", value: error, bound: bound, isLowerBound: false))
        }
    }

    private func checkVectors(_ sequences: [[Int32]], _ report: (ModelVerifier.Check) throws -> Void) throws {
        let head = try model.encoderDescription().head
        for pooling in [EncoderHead.Pooling.lastToken, .mean, .firstToken] {
            var head = head
            head.pooling = pooling
            let width = head.fullDimension(hiddenSize: model.spec.hiddenSize)
            let expected = try reference.encode(TokenBatch(sequences), head: head)
            let together = try device.encode(TokenBatch(sequences), head: head)
            // The same texts the other way round, and a long one in the middle.
            let others = Array(sequences.reversed()) + [sequences[sequences.count - 1]] + sequences
            let company = try device.encode(TokenBatch(others), head: head)
            func cosines(_ vectors: [Float]) -> [Double] {
                sequences.indices.map { VectorComparison.cosine(vectors[$0 * width..<($0 + 1) * width], expected[$0 * width..<($0 + 1) * width]) }
            }
            let values = cosines(together)
            var allowed = [Double](repeating: bounds.vector, count: values.count)
            if !values.allSatisfy({ $0 >= bounds.vector }) {
                allowed = cosines(try rounding.executor().encode(TokenBatch(sequences), head: head)).map {
                    RoundingReference.cosineBound(bounds.vector, roundings: $0)
                }
            }
            for (index, ids) in sequences.enumerated() {
                let name = "\(pooling.rawValue) vector, \(ids.count) tokens"
                let vector = together[index * width..<(index + 1) * width]
                try report(.init(name: name, value: values[index], bound: allowed[index], isLowerBound: true))
                let alone = try device.encode(TokenBatch([ids]), head: head)
                let row = sequences.count - 1 - index
                let least = min(VectorComparison.cosine(alone, vector), VectorComparison.cosine(alone, company[row * width..<(row + 1) * width]))
                try report(.init(name: name + " in company", value: least, bound: Self.companyBound, isLowerBound: true))
            }
        }
    }

    private func checkLogits(_ sequences: [[Int32]], _ report: (ModelVerifier.Check) throws -> Void) throws {
        for ids in sequences {
            let expected = try reference.makeSession().extend(ids)
            func check(_ logits: [Float], _ name: String) throws {
                let error = Self.relativeError(logits, expected)
                var bound = logitBound
                if !(error <= bound) {
                    let rounded = try rounding.executor().makeSession().extend(ids)
                    bound = RoundingReference.bound(bound, roundings: Self.relativeError(rounded, expected))
                }
                try report(.init(name: name, value: error, bound: bound, isLowerBound: false))
            }
            if ids.count == 1, hasCodes { continue }
            try check(try device.makeSession().extend(ids), "logits, \(ids.count) tokens")
            // A single token is computed with the weights' codes, and held against them below.
            guard ids.count > 2, !hasCodes else { continue }
            // In two parts and a step, behind what is in the cache.
            let session = try device.makeSession()
            _ = try session.extend(Array(ids[..<(ids.count / 2)]))
            _ = try session.extend(Array(ids[(ids.count / 2)..<(ids.count - 1)]))
            try check(try session.extend([ids[ids.count - 1]]), "logits in three parts, \(ids.count) tokens")
        }
    }

    func randomIDs(_ count: Int, stream: String) -> [Int32] {
        let numbers = RandomNumbers(seed: seed, stream: stream)
        return (0..<count).map { index in
            Int32((abs(numbers.normal(index)) * 1e6).truncatingRemainder(dividingBy: Float(model.spec.vocabularySize)))
        }
    }

    /// Norm of the difference over the norm of the expected values. NaN where one is NaN.
    package static func relativeError(_ actual: [Float], _ expected: [Float]) -> Double {
        guard actual.count == expected.count else { return .infinity }
        var (difference, whole) = (0.0, 0.0)
        for (a, b) in zip(actual, expected) {
            difference += (Double(a) - Double(b)) * (Double(a) - Double(b))
            whole += Double(b) * Double(b)
        }
        return whole > 0 ? (difference / whole).squareRoot() : difference.squareRoot()
    }
}

extension DeviceVerifier.Fault {
    package func applied(to spec: TransformerSpec) -> TransformerSpec {
        var spec = spec
        switch self {
        case .ropeBase:
            var rope = spec.layers[spec.layers.count - 1].rope
            if spec.layers.allSatisfy({ $0.rope == rope }) { rope.base /= 100 }
            for index in spec.layers.indices { spec.layers[index].rope = rope }
        case .window: for index in spec.layers.indices { spec.layers[index].window = nil }
        case .embeddingScale: spec.embeddingScale = spec.embeddingScale == nil ? 2 : nil
        case .normOffset: spec.normWeightOffset = 1 - spec.normWeightOffset
        case .activation: spec.activation = spec.activation == .silu ? .geluTanh : .silu
        }
        return spec
    }
}
