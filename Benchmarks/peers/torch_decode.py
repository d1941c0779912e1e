"""PyTorch beside `apus bench decode`: greedy decoding at batch 1 by Hugging Face transformers with a static cache.

    apus bench decode --peer "python3 Benchmarks/peers/torch_decode.py"

Random bf16 weights of a published shape. Each form is one token's whole step, the choice of the token in it, replayed from one CUDA graph so that
the host does not count: "eager" as transformers runs it; "compiled" behind torch.compile; "max-autotune" with its choice of kernels (minutes of
setup). "reduce-overhead" leaves the graph to torch.compile. The cache has room for the context and the timed tokens, rounded up to 64, and attention
reads all of it: that is how a static cache works. Prints one JSON object a line: name, context, samples_us (microseconds a token, one number a run), us (their median),
setup_seconds.
"""

import argparse
import json
import statistics
import sys
import time

import torch
import transformers
from transformers import Qwen3Config, Qwen3ForCausalLM, StaticCache

SHAPES = {
    "qwen3-0.6b": dict(hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8),
    "qwen3-1.7b": dict(hidden_size=2048, intermediate_size=6144, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8),
    "qwen3-4b": dict(hidden_size=2560, intermediate_size=9728, num_hidden_layers=36, num_attention_heads=32, num_key_value_heads=8),
}
COMPILE = {"compiled": "default", "max-autotune": "max-autotune-no-cudagraphs", "reduce-overhead": "reduce-overhead"}

parser = argparse.ArgumentParser()
parser.add_argument("contexts", nargs="*", type=int, default=[1, 200, 500, 1900])
parser.add_argument("--shape", default="qwen3-0.6b", choices=SHAPES)
parser.add_argument("--forms", default="eager,compiled", help="of eager, compiled, max-autotune, reduce-overhead, separated by commas")
parser.add_argument("--steps", type=int, default=96, help="tokens of a run")
parser.add_argument("--runs", type=int, default=5)
arguments = parser.parse_args()

torch.set_float32_matmul_precision("high")
torch.manual_seed(0)
device = torch.device("cuda")
config = Qwen3Config(vocab_size=151936, head_dim=128, max_position_embeddings=40960, rope_theta=1e6, tie_word_embeddings=True, **SHAPES[arguments.shape])
with device:
    previous = torch.get_default_dtype()
    torch.set_default_dtype(torch.bfloat16)
    model = Qwen3ForCausalLM(config).eval()
    torch.set_default_dtype(previous)


class Decoder:
    """One sequence of `context` cached positions and its next step, with all that changes in tensors of fixed places."""

    def __init__(self, context, form):
        room = (context + arguments.steps + 8 + 63) // 64 * 64
        self.context = context
        self.cache = StaticCache(config=config, max_cache_len=room, max_batch_size=1, device=device, dtype=torch.bfloat16)
        self.token = torch.tensor([[5]], device=device)
        self.position = torch.zeros(1, dtype=torch.long, device=device)
        with torch.no_grad():
            for first in range(0, context, 4096):
                places = torch.arange(first, min(first + 4096, context), device=device)
                ids = ((places * 7919 + 13) % config.vocab_size)[None]
                model(input_ids=ids, position_ids=places[None], past_key_values=self.cache, use_cache=True, logits_to_keep=1, **self.place(places))
        self.rewind()
        self.run = torch.compile(self.step, mode=COMPILE[form], dynamic=False) if form in COMPILE else self.step
        self.graph = None
        with torch.no_grad():
            for _ in range(3):
                self.run()
            torch.cuda.synchronize()
            if form != "reduce-overhead":
                self.graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self.graph):
                    self.run()

    # Caches of older releases are told where a row goes; newer ones count, in a tensor.
    def place(self, places):
        counts = any(hasattr(layer, "cumulative_length") for layer in self.cache.layers)
        return {} if counts else {"cache_position": places}

    def rewind(self):
        self.position.fill_(self.context)
        for layer in self.cache.layers:
            if torch.is_tensor(getattr(layer, "cumulative_length", None)):
                layer.cumulative_length.fill_(self.context)

    def step(self):
        logits = model(input_ids=self.token, position_ids=self.position[None], past_key_values=self.cache, use_cache=True,
                       **self.place(self.position)).logits
        self.token.copy_(logits[:, -1].argmax(-1, keepdim=True))
        self.position.add_(1)

    def microseconds(self):
        self.rewind()
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        with torch.no_grad():
            for _ in range(arguments.steps):
                if self.graph is None:
                    self.run()
                else:
                    self.graph.replay()
        end.record()
        end.synchronize()
        if self.position.item() != self.context + arguments.steps:
            raise RuntimeError(f"the position is {self.position.item()} behind {arguments.steps} steps from {self.context}")
        return begin.elapsed_time(end) * 1000 / arguments.steps


failed = 0
for context in arguments.contexts:
    for form in arguments.forms.split(","):
        torch._dynamo.reset()
        started = time.time()
        try:
            decoder = Decoder(context, form)
            decoder.microseconds()
            setup = time.time() - started
            times = [decoder.microseconds() for _ in range(arguments.runs)]
        except Exception as error:  # one form may lack what it needs where another runs
            print(f"{form} at context {context} failed: {error!r}"[:400], file=sys.stderr)
            failed += 1
            continue
        print(json.dumps({
            "name": f"transformers {transformers.__version__}, PyTorch {torch.__version__}, {form}", "context": context,
            "samples_us": times, "us": statistics.median(times), "setup_seconds": setup}), flush=True)
        del decoder
        torch.cuda.empty_cache()
sys.exit(1 if failed == len(arguments.contexts) * len(arguments.forms.split(",")) else 0)
