"""Writes the small model folders and reference outputs that TransformerTests compares with.

    pip install "torch==2.13.0" "transformers==5.23.0" safetensors numpy
    python make_goldens.py

Every case is a folder in Hugging Face layout, written by transformers' save_pretrained with seeded random weights of odd shapes, plus

    ids.json        token sequences
    logits.npy      [sum of lengths, V] float32, sequences behind one another   (decoders)
    hidden.npy      [sum of lengths, C] float32, behind the final norm

computed by transformers in fp32 with eager attention, one unpadded sequence at a time. Weights of bf16 and fp16 folders are widened to fp32 for that, and
Gemma's embedding factor is rounded to the folder's type, as transformers does when it runs in that type.
"""

import json
import pathlib
import shutil

import numpy as np
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, Gemma3TextModel, Qwen3Config, Qwen3ForCausalLM, Qwen3Model

HERE = pathlib.Path(__file__).parent
SEED = 20261121


def qwen3(**changes):
    base = dict(
        vocab_size=131, hidden_size=48, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
        max_position_embeddings=256, rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, tie_word_embeddings=True,
        bos_token_id=None, eos_token_id=1, pad_token_id=None)
    base.update(changes)
    return Qwen3Config(**base)


def gemma3(**changes):
    base = dict(
        vocab_size=131, hidden_size=40, intermediate_size=72, num_hidden_layers=7, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
        max_position_embeddings=256, sliding_window=5, query_pre_attn_scalar=16, tie_word_embeddings=True)
    base.update(changes)
    return Gemma3TextConfig(**base)


# name: (model class, configuration, dtype, sequence lengths, options)
CASES = {
    "qwen3-tied": (Qwen3ForCausalLM, qwen3(), torch.float32, [1, 33], {}),
    "qwen3-untied-bf16": (
        Qwen3ForCausalLM, qwen3(vocab_size=97, hidden_size=40, num_attention_heads=3, num_key_value_heads=3, head_dim=24, tie_word_embeddings=False),
        torch.bfloat16, [31, 2], {}),
    "qwen3-gqa8-sharded": (
        Qwen3ForCausalLM, qwen3(num_attention_heads=8, num_key_value_heads=1, head_dim=8, num_hidden_layers=2, hidden_size=56), torch.float32, [17],
        {"max_shard_size": "40KB"}),
    "qwen3-window-fp16": (
        Qwen3ForCausalLM, qwen3(use_sliding_window=True, sliding_window=7, max_window_layers=1), torch.float16, [29], {}),
    "qwen3-encoder": (Qwen3Model, qwen3(hidden_size=33, num_attention_heads=6, num_key_value_heads=2), torch.float32, [5, 1, 18], {}),
    "gemma3-window": (Gemma3ForCausalLM, gemma3(), torch.float32, [1, 33], {}),
    "gemma3-bf16-untied": (
        Gemma3ForCausalLM, gemma3(tie_word_embeddings=False, num_attention_heads=4, num_key_value_heads=2, vocab_size=127), torch.bfloat16, [21], {}),
    "gemma3-version4-keys": (
        Gemma3ForCausalLM, gemma3(num_hidden_layers=4, layer_types=["sliding_attention", "full_attention"] * 2), torch.float32, [19],
        {"version4": True}),
    "gemma3-linear-rope": (
        Gemma3ForCausalLM,
        gemma3(rope_parameters={
            "full_attention": {"rope_type": "linear", "rope_theta": 1000000.0, "factor": 8.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}), torch.float32, [23], {}),
    "gemma3-encoder": (Gemma3TextModel, gemma3(num_hidden_layers=6), torch.bfloat16, [12, 1, 30], {}),
    "gemma3-bidirectional": (
        Gemma3TextModel, gemma3(use_bidirectional_attention=True, sliding_window=8, num_attention_heads=3, hidden_size=42), torch.float32, [7, 40, 1], {}),
}


def randomize(model, generator):
    """Weights large enough that every part of the model shows in the output, norms away from their neutral value."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            neutral = 0.0 if "Gemma3" in type(model).__name__ else 1.0
            parameter.data = neutral + 0.3 * noise
        elif "embed_tokens" in name:
            parameter.data = 0.5 * noise
        else:
            parameter.data = noise * 1.2 / parameter.shape[-1] ** 0.5
    if hasattr(model, "tie_weights"):
        model.tie_weights()


def to_version4(folder):
    """Rewrites config.json in the spelling of transformers 4."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope["full_attention"]["rope_theta"]
    config["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
    config["rope_scaling"] = None
    config.pop("layer_types")
    config.pop("_sliding_window_pattern")
    config["sliding_window_pattern"] = 2
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2) + "\n")


def main():
    for index, (name, (model_class, config, dtype, lengths, options)) in enumerate(CASES.items()):
        generator = torch.Generator().manual_seed(SEED + index)
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        model = model_class(config).eval()
        randomize(model, generator)
        model.to(dtype).save_pretrained(folder, max_shard_size=options.get("max_shard_size", "50GB"))
        (folder / "generation_config.json").unlink(missing_ok=True)
        if options.get("version4"):
            to_version4(folder)

        for file in folder.iterdir():
            file.chmod(0o644)

        reference = model_class.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
        decoder = getattr(reference, "model", reference)
        if hasattr(decoder.embed_tokens, "embed_scale"):
            decoder.embed_tokens.embed_scale.copy_(torch.tensor(config.hidden_size**0.5).to(dtype).float())
        sequences = [torch.randint(0, config.vocab_size, (length,), generator=generator).tolist() for length in lengths]
        hidden, logits = [], []
        with torch.no_grad():
            for ids in sequences:
                states = decoder(torch.tensor([ids])).last_hidden_state[0]
                hidden.append(states.numpy())
                if hasattr(reference, "lm_head"):
                    logits.append(reference.lm_head(states).numpy())
        (folder / "ids.json").write_text(json.dumps(sequences) + "\n")
        np.save(folder / "hidden.npy", np.concatenate(hidden).astype(np.float32))
        if logits:
            np.save(folder / "logits.npy", np.concatenate(logits).astype(np.float32))
        print(name, sum(file.stat().st_size for file in folder.iterdir()), "bytes")


if __name__ == "__main__":
    main()
