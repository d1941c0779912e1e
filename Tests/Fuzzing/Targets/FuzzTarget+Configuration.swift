import Foundation
import ModelHub
import Transformer

extension FuzzTarget {
    /// config.json down to the description that executors rely on.
    static let configuration = FuzzTarget(
        name: "configuration",
        seeds: Preset.all.map { Array($0.configuration.utf8) }
            + [
                #"""
                {"model_type":"gemma3","architectures":["Gemma3ForConditionalGeneration"],"text_config":{"hidden_size":8,"num_hidden_layers":3,"vocab_size":16,
                "rope_theta":1000000.0,"rope_local_base_freq":10000.0,"rope_scaling":{"factor":8.0,"rope_type":"linear"},"sliding_window":4,"sliding_window_pattern":2},
                "torch_dtype":"float32","eos_token_id":[1,106]}
                """#,
                #"""
                {"model_type":"qwen3","vocab_size":16,"hidden_size":8,"intermediate_size":8,"num_hidden_layers":4,"num_attention_heads":2,"num_key_value_heads":1,
                "head_dim":4,"max_position_embeddings":32,"use_sliding_window":true,"sliding_window":4,"max_window_layers":2,"rope_theta":10000,"layer_types":null}
                """#,
            ].map { Array($0.utf8) },
        format: .json,
        dictionary: [
            "hidden_size", "num_hidden_layers", "num_key_value_heads", "head_dim", "rope_parameters", "rope_scaling", "layer_types",
            "sliding_attention", "full_attention",
            "linear", "yarn", "text_config", "gemma3_text", "qwen3", "vocab_size", "query_pre_attn_scalar", "rms_norm_eps",
        ],
        statedMemoryMultiple: 64,
        run: { input in
            let configuration = try ModelConfiguration(parsing: input)
            let family = try ModelFamilies.family(of: configuration)
            let spec = try family.spec(from: configuration)
            try spec.validate()
            guard spec.parameterCount > 0, spec.queryHeads % spec.keyValueHeads == 0 else {
                throw FuzzViolation("a spec was accepted that cannot be")
            }
            _ = family.tensorNames(for: spec).inventory(of: spec)
            _ = try GenerationConfiguration(
                folder: ModelFolder(files: ["generation_config.json": Data(input)], name: "fuzz"), configuration: configuration)
        })
}
