/// Where a family's tensors stand in a checkpoint.
package struct TensorNames: Sendable {
    /// Prefixes under which the decoder may lie: `model.` in a causal language model, nothing in a bare encoder.
    package var prefixes: [String]
    package var embedding = "embed_tokens.weight"
    package var finalNorm = "norm.weight"
    /// Full name, without a prefix of ``prefixes``.
    package var heads: [String]
    package var attentionNorm = "input_layernorm.weight"
    package var attentionOutputNorm: String?
    package var feedForwardNorm: String
    package var feedForwardOutputNorm: String?
    package var query = "self_attn.q_proj.weight"
    package var key = "self_attn.k_proj.weight"
    package var value = "self_attn.v_proj.weight"
    package var output = "self_attn.o_proj.weight"
    package var queryNorm = "self_attn.q_norm.weight"
    package var keyNorm = "self_attn.k_norm.weight"
    package var gate = "mlp.gate_proj.weight"
    package var up = "mlp.up_proj.weight"
    package var down = "mlp.down_proj.weight"
    /// Beginnings of names that belong to parts outside the decoder, such as a vision tower.
    package var foreignPrefixes: [String]

    package init(
        prefixes: [String], heads: [String] = ["lm_head.weight"], attentionOutputNorm: String? = nil, feedForwardNorm: String,
        feedForwardOutputNorm: String? = nil, foreignPrefixes: [String] = []
    ) {
        self.prefixes = prefixes
        self.heads = heads
        self.attentionOutputNorm = attentionOutputNorm
        self.feedForwardNorm = feedForwardNorm
        self.feedForwardOutputNorm = feedForwardOutputNorm
        self.foreignPrefixes = foreignPrefixes
    }

    package func layer(_ index: Int) -> String { "layers.\(index)." }

    /// Names of all tensors that a model of this spec has, without prefix, with their shapes; in the order in which a forward pass reads them.
    package func inventory(of spec: TransformerSpec) -> [(name: String, shape: [Int])] {
        let c = spec.hiddenSize
        let (q, kv) = (spec.queryHeads * spec.headDimension, spec.keyValueHeads * spec.headDimension)
        var all: [(String, [Int])] = [(embedding, [spec.vocabularySize, c])]
        for index in spec.layers.indices {
            let l = layer(index)
            all.append((l + attentionNorm, [c]))
            all += [(l + query, [q, c]), (l + key, [kv, c]), (l + value, [kv, c])]
            if spec.hasQueryKeyNorm { all += [(l + queryNorm, [spec.headDimension]), (l + keyNorm, [spec.headDimension])] }
            all.append((l + output, [c, q]))
            if let attentionOutputNorm { all.append((l + attentionOutputNorm, [c])) }
            all.append((l + feedForwardNorm, [c]))
            all += [(l + gate, [spec.intermediateSize, c]), (l + up, [spec.intermediateSize, c]), (l + down, [c, spec.intermediateSize])]
            if let feedForwardOutputNorm { all.append((l + feedForwardOutputNorm, [c])) }
        }
        all.append((finalNorm, [c]))
        return all
    }
}
