import CUDA
import Operators
import Tensors

extension CUDAExecutor {
    /// Hands out what every layer computes on its way, all rows of the batch at once, for comparing executors.
    ///
    /// What never lies in memory is left out: the middle residual where one kernel computes the whole layer, gated activations in 8-bit codes.
    package func phases(_ batch: TokenBatch, each body: (_ layer: Int, _ phase: LayerPhase, _ rows: [Float]) throws -> Void) throws {
        try withPass(batch) { pass, space in
            try withoutActuallyEscaping(body) { body in
                var progress = PhaseProgress()
                observer = { step in
                    for (layer, phase) in progress.phases(behind: step) where phase != .gated || self.coded?.contains(layer) != true {
                        try body(layer, phase, self.rows(of: phase, space))
                    }
                }
                defer { observer = nil }
                try run(pass, space, finalNorm: false)
            }
        }
    }

    /// The keys and the values of a layer in a session's cache in bf16, each `[position, G, D]`.
    package func cachedRows(of session: any DecoderSession, layer: Int) throws -> (keys: [Float], values: [Float]) {
        guard let session = session as? CUDADecoderSession, session.cache.format == .bfloat16 else {
            throw TransformerError(.invalidSpec, "the session has no cache in bf16 on this GPU")
        }
        func filled(_ tensor: DeviceTensor) throws -> [Float] { try context.download(tensor.slice(0, 0..<session.position)).float32() }
        return (try filled(session.cache.keys(layer: layer)), try filled(session.cache.values(layer: layer)))
    }

    private func rows(of phase: LayerPhase, _ space: PassSpace) throws -> [Float] {
        let (h, g, d) = (spec.queryHeads, spec.keyValueHeads, spec.headDimension)
        func heads(_ heads: Range<Int>) throws -> [Float] {
            let rows = try context.download(space.queryKeyValue).float32()
            let width = (h + 2 * g) * d
            return stride(from: 0, to: rows.count, by: width).flatMap { rows[$0 + heads.lowerBound * d..<$0 + heads.upperBound * d] }
        }
        return switch phase {
        case .queries: try heads(0..<h)
        case .keys: try heads(h..<h + g)
        case .values: try heads(h + g..<h + 2 * g)
        case .attended: try context.download(space.attended).float32()
        case .gated: try context.download(space.gated).float32()
        case .middle, .hidden: try context.download(rowKernels.join(space)).float32()
        }
    }
}

/// Which phases of which layer are in memory behind the steps of a pass.
package struct PhaseProgress {
    private var layer = 0
    private var isBehindAttention = false

    package init() {}

    package mutating func phases(behind step: PassStep) -> [(layer: Int, phase: LayerPhase)] {
        switch step {
        case .attention, .windowedAttention:
            isBehindAttention = true
            return [.queries, .keys, .values, .attended].map { (layer, $0) }
        case .residual where isBehindAttention:
            isBehindAttention = false
            return [(layer, .middle)]
        case .gateUp:
            return [(layer, .gated)]
        case .residual:
            layer += 1
            return [(layer - 1, .hidden)]
        case .layer:
            (layer, isBehindAttention) = (layer + 1, false)
            return [(layer - 1, .gated), (layer - 1, .hidden)]
        case .embed, .queryKeyValue, .queryKeyNorm, .output, .down, .pool:
            return []
        }
    }
}
