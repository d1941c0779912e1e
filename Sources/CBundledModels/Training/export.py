"""Writes the two model folders: python export.py --runs DIR --data DIR --text RUN --embedding RUN --out DIR

Takes RUN.json and RUN.safetensors of train_text.py and train_embedding.py, and writes OUT/Text and OUT/Embedding as
transformers and sentence-transformers do, with bf16 weights.
"""

import argparse
import json
import os
import shutil

import torch
from safetensors.torch import load_file
from transformers import GenerationConfig, Gemma3TextConfig, Gemma3TextModel, Qwen3Config, Qwen3ForCausalLM

from train_embedding import BOS, EOS, PAD, PROMPT

CHAT_TEMPLATE = """{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""


def write(path, value):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as file:
        file.write(value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def common(o):
    return {
        "vocab_size": o["vocabulary"], "hidden_size": o["hidden"], "intermediate_size": o["intermediate"],
        "num_hidden_layers": o["layers"], "num_attention_heads": o["query_heads"], "num_key_value_heads": o["kv_heads"],
        "head_dim": o["head"], "max_position_embeddings": 1024, "rms_norm_eps": 1e-6, "tie_word_embeddings": True,
        "dtype": "bfloat16",
    }


def export_text(o, weights, tokenizer, out):
    vocabulary = json.load(open(tokenizer, encoding="utf-8"))
    ids = {token["content"]: token["id"] for token in vocabulary["added_tokens"]}
    end, stop = ids["<|endoftext|>"], ids["<|im_end|>"]
    config = Qwen3Config(
        **common(o), rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        layer_types=["full_attention"] * o["layers"], bos_token_id=None, eos_token_id=stop, pad_token_id=end,
    )
    model = Qwen3ForCausalLM(config).to(torch.bfloat16)
    missing, unexpected = model.load_state_dict({f"model.{k}": v for k, v in weights.items()}, strict=False)
    assert not unexpected and set(missing) <= {"lm_head.weight"}, (missing, unexpected)
    model.tie_weights()
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=0.8, top_p=0.95, eos_token_id=[stop, end], pad_token_id=end
    )
    model.save_pretrained(out)
    shutil.copyfile(tokenizer, f"{out}/tokenizer.json")
    write(f"{out}/tokenizer_config.json", {
        "add_bos_token": False, "add_prefix_space": False, "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>", "model_max_length": 1024,
        "tokenizer_class": "PreTrainedTokenizerFast",
    })
    write(f"{out}/chat_template.jinja", CHAT_TEMPLATE)


def export_embedding(o, weights, tokenizer, out):
    kinds = ["full_attention" if (i + 1) % o["full_every"] == 0 else "sliding_attention" for i in range(o["layers"])]
    config = Gemma3TextConfig(
        **common(o), hidden_activation="gelu_pytorch_tanh", query_pre_attn_scalar=o["head"], sliding_window=o["window"],
        layer_types=kinds, rope_parameters={
            "full_attention": {"rope_type": "default", "rope_theta": 1_000_000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10_000.0},
        },
        pad_token_id=PAD, eos_token_id=EOS, bos_token_id=BOS,
    )
    model = Gemma3TextModel(config).to(torch.bfloat16)
    model.load_state_dict(weights)
    model.save_pretrained(out)
    shutil.copyfile(tokenizer, f"{out}/tokenizer.json")
    write(f"{out}/tokenizer_config.json", {
        "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "unk_token": "<unk>", "model_max_length": 512,
        "clean_up_tokenization_spaces": False, "padding_side": "right", "tokenizer_class": "PreTrainedTokenizerFast",
    })
    places = ((0, "", "Transformer"), (1, "1_Pooling", "Pooling"), (2, "2_Normalize", "Normalize"))
    write(f"{out}/modules.json", [
        {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"} for i, path, kind in places
    ])
    write(f"{out}/1_Pooling/config.json", {
        "word_embedding_dimension": o["hidden"], "pooling_mode_cls_token": False,
        "pooling_mode_mean_tokens": o["pooling"] == "mean", "pooling_mode_max_tokens": False,
        "pooling_mode_mean_sqrt_len_tokens": False, "pooling_mode_weightedmean_tokens": False,
        "pooling_mode_lasttoken": o["pooling"] == "last", "include_prompt": True,
    })
    write(f"{out}/sentence_bert_config.json", {"max_seq_length": 512, "do_lower_case": False})
    write(f"{out}/config_sentence_transformers.json", {
        "prompts": {"query": PROMPT, "document": ""}, "default_prompt_name": None, "similarity_fn_name": "cosine",
    })


if __name__ == "__main__":
    p = argparse.ArgumentParser()
    for name in ("runs", "data", "text", "embedding", "out"):
        p.add_argument(f"--{name}", required=True)
    a = p.parse_args()
    for kind, run, export in (("text", a.text, export_text), ("embedding", a.embedding, export_embedding)):
        options = json.load(open(f"{a.runs}/{run}.json"))["options"]
        weights = load_file(f"{a.runs}/{run}.safetensors")
        export(options, weights, f"{a.data}/tok/{kind}-{options['vocabulary']}.json", f"{a.out}/{kind.capitalize()}")
