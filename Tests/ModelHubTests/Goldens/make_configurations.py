"""Writes configurations.json: config.json files in the spellings of transformers 4 and 5, and what transformers makes of each.

Made with transformers 5.23.0. The cases of version 5 are saved by transformers itself; those of version 4 are written by hand as that version wrote them.
Run: python make_configurations.py > configurations.json
"""
import json, os, tempfile
import transformers
from transformers import AutoConfig, Gemma3Config, Gemma3TextConfig, Qwen3Config

transformers.logging.set_verbosity_error()
qwen = dict(vocab_size=1003, hidden_size=48, intermediate_size=80, num_hidden_layers=5, num_attention_heads=4, num_key_value_heads=2,
            head_dim=16, max_position_embeddings=4096)
gemma = dict(vocab_size=1003, hidden_size=48, intermediate_size=80, num_hidden_layers=13, num_attention_heads=4, num_key_value_heads=1,
             head_dim=16, max_position_embeddings=4096)
q4 = dict(qwen, model_type="qwen3", architectures=["Qwen3ForCausalLM"], torch_dtype="bfloat16", eos_token_id=151645, bos_token_id=151643)
g4 = dict(gemma, model_type="gemma3_text", architectures=["Gemma3ForCausalLM"], torch_dtype="bfloat16", eos_token_id=[1, 106])
cases = []


def saved(name, config):
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        cases.append((name, json.load(open(os.path.join(folder, "config.json")))))


saved("qwen3 v5 plain", Qwen3Config(**qwen))
saved("qwen3 v5 theta, tied", Qwen3Config(**qwen, rope_parameters={"rope_type": "default", "rope_theta": 1e6}, tie_word_embeddings=True,
                                          eos_token_id=[7, 9], dtype="bfloat16"))
saved("qwen3 v5 window", Qwen3Config(**qwen, use_sliding_window=True, sliding_window=33, max_window_layers=2))
saved("qwen3 v5 linear", Qwen3Config(**qwen, rope_parameters={"rope_type": "linear", "factor": 4.0, "rope_theta": 5e5}))
saved("qwen3 v5 yarn", Qwen3Config(**qwen, rope_parameters={"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e6,
                                                            "original_max_position_embeddings": 1024, "beta_fast": 16, "truncate": False}))
saved("qwen3 v5 llama3", Qwen3Config(**qwen, rope_parameters={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                                              "original_max_position_embeddings": 1024, "rope_theta": 5e5}))
saved("qwen3 v5 by layer", Qwen3Config(**qwen, use_sliding_window=True, sliding_window=64, max_window_layers=3, rope_parameters={
    "full_attention": {"rope_type": "default", "rope_theta": 2e6}, "sliding_attention": {"rope_type": "linear", "factor": 2.0}}))
saved("gemma3 v5 plain", Gemma3TextConfig(**gemma))
saved("gemma3 v5 window, encoder", Gemma3TextConfig(**gemma, sliding_window=512, use_bidirectional_attention=True))
saved("gemma3 v5 ropes", Gemma3TextConfig(**gemma, rope_parameters={
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 3e5}, "sliding_attention": {"rope_type": "default", "rope_theta": 77.0}}))
saved("gemma3 v5 odd layers", Gemma3TextConfig(**gemma, layer_types=["full_attention", "sliding_attention"] * 6 + ["full_attention"]))
saved("gemma3 v5 with pictures", Gemma3Config(text_config=Gemma3TextConfig(**gemma, sliding_window=96), dtype="bfloat16"))

cases += [
    ("qwen3 v4 as released", dict(q4, rope_theta=1000000, rope_scaling=None, use_sliding_window=False, sliding_window=None, max_window_layers=28)),
    ("qwen3 v4 no rope keys", q4),
    ("qwen3 v4 window unused", dict(q4, rope_theta=1000000, sliding_window=64, max_window_layers=2)),
    ("qwen3 v4 window used", dict(q4, rope_theta=1000000, use_sliding_window=True, sliding_window=64, max_window_layers=3)),
    ("qwen3 v4 window by default", dict(q4, use_sliding_window=True, max_window_layers=0)),
    ("qwen3 v4 window null", dict(q4, use_sliding_window=True, sliding_window=None, max_window_layers=0)),
    ("qwen3 v4 yarn", dict(q4, rope_theta=1000000, rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024})),
    ("qwen3 v4 yarn, old type key", dict(q4, rope_theta=1000000, rope_scaling={"type": "yarn", "factor": 4.0})),
    ("qwen3 v4 yarn, original length outside", dict(q4, rope_theta=1000000, original_max_position_embeddings=512, rope_scaling={
        "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 1024})),
    ("qwen3 v4 yarn, original length only outside", dict(q4, original_max_position_embeddings=512, rope_scaling={"type": "yarn", "factor": 8.0})),
    ("qwen3 v4 linear", dict(q4, rope_scaling={"type": "linear", "factor": 2})),
    ("qwen3 v4 heads null", dict(q4, num_key_value_heads=None)),
    ("qwen3 v5 empty scaling", dict(q4, rope_scaling={}, rope_parameters={"rope_theta": 123.5})),
    ("gemma3 v4 as released", dict(g4, rope_theta=1000000.0, rope_local_base_freq=10000.0, rope_scaling=None, sliding_window=512,
                                   sliding_window_pattern=6)),
    ("gemma3 v4 with layer types", dict(g4, rope_theta=1000000.0, rope_local_base_freq=10000.0, sliding_window=512, _sliding_window_pattern=6,
                                        layer_types=[("full_attention" if i % 4 == 3 else "sliding_attention") for i in range(13)])),
    ("gemma3 v4 pattern 3", dict(g4, rope_theta=500000.0, rope_local_base_freq=2000.0, sliding_window_pattern=3, sliding_window=31)),
    ("gemma3 v4 no rope keys", g4),
    ("gemma3 v4 linear", dict(g4, rope_theta=1000000.0, rope_local_base_freq=10000.0, rope_scaling={"rope_type": "linear", "factor": 8.0})),
    ("gemma3 v4 window null", dict(g4, sliding_window=None, layer_types=["full_attention"] * 13)),
    ("gemma3 v4 with pictures", {"model_type": "gemma3", "architectures": ["Gemma3ForConditionalGeneration"], "eos_token_id": [1, 106],
                                 "torch_dtype": "bfloat16", "text_config": dict(gemma, model_type="gemma3_text", sliding_window=1024,
                                                                                rope_scaling={"rope_type": "linear", "factor": 8.0})}),
]

rope_keys = ["rope_theta", "rope_type", "factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "low_freq_factor",
             "high_freq_factor", "truncate", "partial_rotary_factor"]
result = []
for name, raw in cases:
    with tempfile.TemporaryDirectory() as folder:
        json.dump(raw, open(os.path.join(folder, "config.json"), "w"))
        config = AutoConfig.from_pretrained(folder)
    text = config.get_text_config()
    # Called again where a model computes its frequencies, and then it sees keys that the class does not declare.
    text.standardize_rope_params()
    ropes = {}
    for kind in sorted(set(text.layer_types)):
        rope = text.rope_parameters
        rope = rope[kind] if kind in rope else rope
        ropes[kind] = {key: rope[key] for key in rope_keys if rope.get(key) is not None}
    window = text.sliding_window
    if getattr(text, "use_bidirectional_attention", False):
        window = (window - 1) * 2
    result.append({"name": name, "config": raw, "expected": {
        "modelType": text.model_type, "layerTypes": text.layer_types, "slidingWindow": window, "ropes": ropes,
        "tied": bool(config.tie_word_embeddings), "dtype": str(config.dtype).removeprefix("torch.") if config.dtype is not None else None,
    }})
print(json.dumps({"versions": {"transformers": transformers.__version__}, "cases": result}, indent=1))
