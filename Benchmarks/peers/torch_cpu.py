"""PyTorch on the CPU beside `apus bench cpu`: prefill of harrier-270m's shape, decode of Qwen3-0.6B's, in bf16 and fp32, random weights.

    pip install torch transformers
    apus bench cpu --peer "python3 Benchmarks/peers/torch_cpu.py"

Prints one JSON object a line. Eager mode with transformers' default (SDPA) attention and its dynamic cache; medians over the runs behind a warm-up.
"""

import argparse
import json
import statistics
import time

import torch
import transformers
from transformers import Gemma3TextConfig, Gemma3TextModel, Qwen3Config, Qwen3ForCausalLM


def harrier_270m():
    return Gemma3TextModel(Gemma3TextConfig(
        vocab_size=262144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18, num_attention_heads=4, num_key_value_heads=1, head_dim=256,
        sliding_window=512, query_pre_attn_scalar=256, max_position_embeddings=32768))


def qwen3_600m():
    return Qwen3ForCausalLM(Qwen3Config(
        vocab_size=151936, hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8, head_dim=128,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0}, tie_word_embeddings=True, max_position_embeddings=40960))


def prefill_rate(model, tokens, runs):
    ids = torch.randint(0, model.config.vocab_size, (1, tokens))
    times = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        model(ids, use_cache=False)
        times.append(time.perf_counter() - start)
    return tokens / statistics.median(times[1:])


def decode_rate(model, context, steps, runs):
    times = []
    for _ in range(runs + 1):
        ids = torch.randint(0, model.config.vocab_size, (1, context))
        output = model(ids, use_cache=True, logits_to_keep=1)
        start = time.perf_counter()
        for _ in range(steps):
            token = output.logits[:, -1:].argmax(-1)
            output = model(token, past_key_values=output.past_key_values, use_cache=True)
        times.append(time.perf_counter() - start)
    return steps / statistics.median(times[1:])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(1)
    for dtype in (torch.bfloat16, torch.float32):
        with torch.no_grad():
            torch.set_default_dtype(dtype)
            model = harrier_270m().eval()
            prefill = prefill_rate(model, arguments.tokens, arguments.runs)
            del model
            model = qwen3_600m().eval()
            decode = decode_rate(model, 16, 16, arguments.runs)
            del model
        print(json.dumps({
            "name": f"PyTorch {torch.__version__}, transformers {transformers.__version__}, {str(dtype).removeprefix('torch.')}",
            "prefill_tokens_per_second": prefill,
            "decode_tokens_per_second": decode,
        }), flush=True)


if __name__ == "__main__":
    main()
