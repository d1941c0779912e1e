"""PyTorch beside `apus bench embed`: the embedding forward of a Gemma3-270m-shaped model under torch.compile(max-autotune).

    apus bench embed --peer "python3 Benchmarks/peers/torch_embed.py"

Two forms, random weights, bf16, last token, L2 norm: "published" is the published benchmark's script, which gives every layer the table of the
full-attention layers and no window; "right" is transformers' own forward, with both rope bases and the 512 window. --layers compiles the layers one by
one instead of the whole forward, as one of them serves all: much sooner ready. --graph puts the forward into one CUDA graph, its masks made once, and
counts the faster of the two. Prints one JSON object a line; medians of the time from the end of a
forward to that of the next, several being on their way, behind a warm-up. Compiling takes most of the time: --seconds ends the run before a compilation that would start later.

Compiling first, all shapes side by side, and timing later, one after the other:

    python3 Benchmarks/peers/torch_embed.py --serve FOLDER --layers --graph --mode max-autotune-no-cudagraphs &
    python3 Benchmarks/peers/torch_embed.py --ask FOLDER --seconds 300 none       (waits until all is compiled)
    apus bench embed --peer "python3 Benchmarks/peers/torch_embed.py --ask FOLDER --runs 20"

Here --seconds is what the answer may wait for compilations; those that take longer are ended and left out. Modes with CUDA graphs of their own do not
go with --layers: a layer's graph overwrites what the one before has put out.
"""

import argparse
import contextlib
import fcntl
import json
import os
import statistics
import sys
import time
from multiprocessing.connection import Client, Listener, Pipe, wait

ALL = ["128x64", "256x32", "512x16", "1024x8", "4096x16", "10240x4"]
parser = argparse.ArgumentParser()
parser.add_argument("shapes", nargs="*", default=ALL, help="LENGTHxTEXTS")
parser.add_argument("--mode", default="max-autotune", help="torch.compile's mode, or eager")
parser.add_argument("--forms", default="published,right")
parser.add_argument("--runs", type=int, default=20, help="counted forwards; of --ask, not of --serve")
parser.add_argument("--layers", action="store_true", help="compile a layer, not the whole")
parser.add_argument("--graph", action="store_true", help="the whole forward in a CUDA graph; for modes without graphs of their own")
parser.add_argument("--serve", metavar="SOCKET", help="compile, then wait for --ask")
parser.add_argument("--ask", metavar="SOCKET", help="time what --serve has compiled")
parser.add_argument("--seconds", type=float, help="start nothing after this time")
arguments = parser.parse_args()
began = time.time()

if arguments.ask:
    # The socket is there once the other process has imported its libraries.
    while True:
        try:
            connection = Client(arguments.ask)
            break
        except (FileNotFoundError, ConnectionRefusedError):
            if time.time() - began > (arguments.seconds or 60):
                sys.exit(f"nobody serves {arguments.ask}")
            time.sleep(0.1)
    connection.send((arguments.shapes, arguments.seconds, arguments.runs))
    while (line := connection.recv()) is not None:
        print(line, flush=True)
    sys.exit()

import torch
import torch._dynamo
import torch.nn.functional as F
from transformers import Gemma3TextConfig, Gemma3TextModel
from transformers.masking_utils import create_causal_mask, create_sliding_window_causal_mask

torch.set_float32_matmul_precision("high")
torch._dynamo.config.recompile_limit = 64


held = []


@contextlib.contextmanager
def alone():
    """The GPU for one of the processes that compile side by side, so that none disturbs what another times to choose kernels."""
    if held or not arguments.serve:
        yield
        return
    with open(os.path.join(os.path.dirname(arguments.serve), "torch_embed.lock"), "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        held.append(file)
        try:
            yield
        finally:
            held.clear()


def choose_alone():
    """Makes torch.compile's choices so; what another process has chosen for the same product is read and not timed again."""
    from torch._inductor import codecache
    from torch._inductor.runtime import triton_heuristics

    for owner, name in [(codecache.PersistentCache, "lookup"), (triton_heuristics.CachingAutotuner, "benchmark_all_configs")]:

        def locked(*words, original=getattr(owner, name), **named):
            with alone():
                return original(*words, **named)

        setattr(owner, name, locked)


def make_model():
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=262144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18, num_attention_heads=4, num_key_value_heads=1, head_dim=256,
        query_pre_attn_scalar=256, sliding_window=512, max_position_embeddings=32768)
    with torch.device("cuda"):
        model = Gemma3TextModel(config)
    model = model.to(torch.bfloat16).eval()
    if arguments.layers and arguments.mode != "eager":
        for layer in model.layers:
            layer.compile(mode=arguments.mode, dynamic=False)
    return model


def make_forward(model, name, ids):
    """The form's function of its ids, which may have been compiled."""
    positions = torch.arange(ids.shape[1], device="cuda").unsqueeze(0).expand(ids.shape[0], -1)
    masks = None
    if arguments.graph and name == "right":
        # What transformers makes in each forward, with a look at a value that a graph cannot hold.
        x = model.embed_tokens(ids)
        words = {"config": model.config, "inputs_embeds": x, "attention_mask": None, "past_key_values": None, "position_ids": positions}
        masks = {"full_attention": create_causal_mask(**words), "sliding_attention": create_sliding_window_causal_mask(**words)}

    def published():
        x = model.embed_tokens(ids)
        tables = model.rotary_emb(x, positions, "full_attention")
        for layer in model.layers:
            x = layer(x, position_embeddings=tables, position_ids=positions)
            x = x[0] if isinstance(x, tuple) else x
        return F.normalize(model.norm(x)[:, -1, :], dim=-1)

    def right():
        if masks is None:
            x = model(input_ids=ids, use_cache=False)
        else:
            x = model(input_ids=ids, attention_mask=masks, position_ids=positions, use_cache=False)
        return F.normalize(x.last_hidden_state[:, -1, :], dim=-1)

    forward = {"published": published, "right": right}[name]
    if arguments.mode == "eager" or arguments.layers:
        return forward
    return torch.compile(forward, mode=arguments.mode, dynamic=False)


def prepare(model, name, shape):
    """Compiles; returns the ways to compute the forward."""
    length, texts = map(int, shape.split("x"))
    ids = torch.randint(1, 262144, (texts, length), device="cuda")
    forward = make_forward(model, name, ids)
    # Compiles.
    expected = forward()
    with alone():
        for _ in range(4):
            forward()
        torch.cuda.synchronize()
    if not arguments.graph:
        return [forward]
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph):
            result = forward()
        graph.replay()
        torch.cuda.synchronize()
    except RuntimeError as error:
        print(f"{name} {shape} without a graph: {error!r}"[:300], file=sys.stderr, flush=True)
        return [forward]
    assert torch.allclose(result.float(), expected.float(), atol=1e-2), "the graph computes something else"
    return [forward, graph.replay]


def median(forward, runs):
    ends = []
    for _ in range(runs + 5):
        forward()
        ends.append(torch.cuda.Event(enable_timing=True))
        ends[-1].record()
    torch.cuda.synchronize()
    return statistics.median(before.elapsed_time(end) for before, end in zip(ends[4:], ends[5:]))


def measure(ways, name, shape, setup, runs):
    length, texts = map(int, shape.split("x"))
    short = [median(forward, 3) for forward in ways] if len(ways) > 1 else [0]
    ms = median(ways[short.index(min(short))], runs)
    return json.dumps({
        "name": f"PyTorch {torch.__version__} {name}, {arguments.mode}{', by layers' if arguments.layers else ''}{', a graph' if arguments.graph else ''}",
        "shape": shape, "ms": ms, "tokens_per_second": length * texts / ms * 1e3, "setup_seconds": setup, "short_ms": short})


def worker(name, shape, pipe):
    """A process of --serve: compiles one form of one shape, says so, and times it when it is asked."""
    began = time.time()
    choose_alone()
    with torch.no_grad():
        ways = prepare(make_model(), name, shape)
        setup = time.time() - began
        pipe.send(f"{name} {shape} is ready after {setup:.1f} s")
        while True:
            try:
                runs = pipe.recv()
            except EOFError:
                return
            pipe.send(measure(ways, name, shape, setup, runs))


def serve():
    jobs = [(name, shape) for shape in arguments.shapes for name in arguments.forms.split(",")]
    waiting, workers, ready = list(jobs), {}, {}

    def start():
        """Starts all jobs, but of those by layers that multiply as many rows only the first, until the others can read its choices."""
        busy = {rows(job) for job in workers if job not in ready}
        for job in list(waiting):
            if rows(job) in busy:
                continue
            if arguments.layers:
                done = any(rows(other) == rows(job) for other in ready)
                if not done:
                    busy.add(rows(job))
            waiting.remove(job)
            ours, theirs = Pipe()
            child = os.fork()
            if child == 0:
                try:
                    worker(*job, theirs)
                except BaseException as error:
                    print(f"{job[0]} {job[1]} failed: {error!r}"[:600], file=sys.stderr, flush=True)
                os._exit(0)
            theirs.close()
            workers[job] = (child, ours)

    def rows(job):
        length, texts = map(int, job[1].split("x"))
        return length * texts

    def look(seconds, *others):
        """Waits for words of those that compile, or for another connection; true if that has come."""
        pipes = {workers[job][1]: job for job in workers if job not in ready}
        found = wait([*pipes, *others], seconds)
        for pipe in found:
            if pipe not in pipes:
                continue
            job = pipes[pipe]
            try:
                print(pipe.recv(), file=sys.stderr, flush=True)
                ready[job] = True
            except EOFError:
                ready[job] = False
        start()
        return any(other in found for other in others)

    if os.path.exists(arguments.serve):
        os.remove(arguments.serve)
    start()
    listener = Listener(arguments.serve)
    while True:
        while not look(None, listener._listener._socket):
            pass
        connection = listener.accept()
        shapes, seconds, runs = connection.recv()
        end = None if seconds is None else time.time() + seconds
        while len(ready) < len(jobs) and (end is None or time.time() < end):
            look(None if end is None else max(0, end - time.time()))
        for job in jobs:
            if job in waiting or job not in ready:
                print(f"{job[0]} {job[1]} left out: {seconds} s are over", file=sys.stderr, flush=True)
                if job in workers:
                    os.kill(workers[job][0], 9)
                else:
                    waiting.remove(job)
                ready[job] = False
        for job in jobs:
            if not ready[job] or job[1] not in shapes:
                continue
            try:
                workers[job][1].send(runs)
                connection.send(workers[job][1].recv())
            except (EOFError, BrokenPipeError):
                ready[job] = False
        connection.send(None)
        connection.close()


def run():
    model = make_model()
    for shape in arguments.shapes:
        for name in arguments.forms.split(","):
            started = time.time()
            if arguments.seconds is not None and started - began > arguments.seconds:
                print(f"{name} {shape} left out: {arguments.seconds} s are over", file=sys.stderr)
                continue
            if not arguments.layers:
                torch._dynamo.reset()
            try:
                with torch.no_grad():
                    ways = prepare(model, name, shape)
                    print(measure(ways, name, shape, time.time() - started, arguments.runs), flush=True)
            except Exception as error:
                print(f"{name} {shape} failed: {error!r}"[:300], file=sys.stderr)


serve() if arguments.serve else run()
