import CUDA
package import Transformer

extension DecodeBenchmark {
    /// Another way of computing the same tokens, measured beside the executor's own.
    package struct FormRow: Sendable, Equatable {
        package let name: String
        package let context: Int
        /// Seconds a token, a run each.
        package let samples: [Double]
        /// Of the tokens of a run, those ahead of the first that differs from the resident kernel's, and all.
        package let agreement: (same: Int, all: Int)
        /// Whether it is a rival of the resident kernel and not a form of it.
        package let isRival: Bool

        package init(name: String, context: Int, samples: [Double], agreement: (same: Int, all: Int), isRival: Bool) {
            self.name = name
            self.context = context
            self.samples = samples
            self.agreement = agreement
            self.isRival = isRival
        }

        package static func == (a: Self, b: Self) -> Bool {
            a.name == b.name && a.context == b.context && a.samples == b.samples && a.agreement == b.agreement && a.isRival == b.isRival
        }

        package var agreementText: String {
            let (same, all) = agreement
            return same == all ? "the same \(all) tokens" : "the same tokens up to the \(same + 1)th of \(all)"
        }
    }

    /// The resident kernel with one technique changed, at each context; `each` gets a row as soon as it is there.
    ///
    /// - Throws: ``TransformerError`` with code `unsupportedModel` where the resident kernel does not run.
    package func ablation(
        _ variants: [DecodeVariant] = DecodeVariant.ablations, contexts: [Int], runs: Int, each: (FormRow) throws -> Void = { _ in }
    ) throws -> [FormRow] {
        guard let device = executor as? CUDAExecutor, try device.decodeBlocks() != nil else {
            throw TransformerError(.unsupportedModel, "techniques of the resident decode kernel are measured where it runs")
        }
        try device.compile(variants)
        let own = try contexts.map { try greedy(context: $0, runs: runs).tokens }
        var rows: [FormRow] = []
        for variant in variants {
            try device.decoding(by: variant) {
                for (context, tokens) in zip(contexts, own) {
                    let found = try greedy(context: context, runs: runs)
                    let row = FormRow(
                        name: variant.name, context: context, samples: found.seconds, agreement: Self.agreement(found.tokens, tokens), isRival: false)
                    try each(row)
                    rows.append(row)
                }
            }
        }
        return rows
    }

    /// A graph of small kernels with programmatic edges, on the same weights; nil where there is none for the model.
    package func rival(context: Int, runs: Int) throws -> FormRow? {
        guard let device = executor as? CUDAExecutor, try device.decodeBlocks() != nil,
            DecodeGraph.obstacle(
                executor.spec, format: device.decodeWeights, cacheFormat: device.cacheFormat, major: device.device.computeCapability.major) == nil
        else { return nil }
        let own = try greedy(context: context, runs: 1).tokens
        let (session, first) = try filled(context)
        let graph = try DecodeGraph(device, session: session)
        let found = try graph.run(from: first, position: context, steps: own.count, runs: runs)
        return FormRow(
            name: "CUDA graph of kernels, \(graph.edges(position: context)) programmatic edges", context: context, samples: found.seconds,
            agreement: Self.agreement(found.tokens, own), isRival: true)
    }

    static func agreement(_ tokens: [Int32], _ own: [Int32]) -> (same: Int, all: Int) {
        (zip(tokens, own).prefix { $0 == $1 }.count, own.count)
    }

    /// The tokens of a run and the seconds a token of all after the first.
    private func greedy(context: Int, runs: Int) throws -> (tokens: [Int32], seconds: [Double]) {
        let (session, first) = try filled(context)
        var (tokens, seconds): ([Int32], [Double]) = ([], [])
        for run in 0...runs {
            session.rewind(to: context)
            tokens = []
            let time = try timed(session, from: first) { tokens.append($0) }
            if run > 0 { seconds.append(time) }
        }
        return (tokens, seconds)
    }
}
