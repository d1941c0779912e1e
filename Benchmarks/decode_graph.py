"""The decode megakernel's rival: the same step as a CUDA graph of small kernels with programmatic edges (Kernels/Benchmark/GraphStepHopper.cu).

    python3 Benchmarks/decode_graph.py [--contexts 1,200,500,1900] [--define GRAPH_STAGED=0] [--tokens 8] [--plain]

Both read the same packed random weights. The rival's logits are held against an fp32 forward of the same bf16 weights, for contexts of both forms;
exit status 1 when the largest KL is above 1e-3. Then microseconds a token of both, in turn. `--tokens` of them make a graph; `--plain` leaves the
programmatic edges out. Needs PyTorch with CUDA, nvcc, and an sm_90 GPU or newer.
"""
import argparse
import ctypes as ct
import sys

import torch

from decode_kernel import SHAPES, Engine, Model, Module, check, driver


class Arguments(ct.Structure):
    """`Arguments` of Kernels/Benchmark/GraphStepHopper.cu."""

    _fields_ = [(n, ct.c_uint64) for n in "layers head embedding norms frequencies cache scratch logits chosen state".split()]


class LaunchAttribute(ct.Structure):
    _fields_ = [("id", ct.c_uint32), ("pad", ct.c_uint32), ("value", ct.c_uint32 * 16)]


class LaunchConfig(ct.Structure):
    _fields_ = [(n, ct.c_uint32) for n in "gx gy gz bx by bz shared".split()] + [
        ("stream", ct.c_void_p), ("attributes", ct.POINTER(LaunchAttribute)), ("count", ct.c_uint32)]


class Rival:
    shortest = 128  # positions up to which the form without parts of the attention does, the token's own among them

    def __init__(self, engine, defines, isProgrammatic=True):
        self.engine, self.isProgrammatic = engine, isProgrammatic
        s = engine.model.s
        module = Module("Benchmark/GraphStepHopper.cu", engine.defines | defines)
        *shared, self.blocks, scratch, size, state, self.threads = module.words("apus_graph_sizes")
        assert size == ct.sizeof(Arguments), size
        self.names = ["input", "attend", "output", "gated", "down", "head", "merge"]
        self.shared = dict(zip(self.names, shared + [shared[2]]))
        self.kernels = {n: module.kernel("apus_graph_" + n) for n in self.names}
        for n in self.names:
            check(driver.cuFuncSetAttribute(self.kernels[n], 8, self.shared[n]), n)
        norms = [w[n].float() for w in engine.model.layers for n in ("n1", "n2", "qn", "kn")] + [engine.model.final.float()]
        self.norms, self.normTable = norms, torch.tensor([n.data_ptr() for n in norms], dtype=torch.int64, device="cuda")
        self.scratch = torch.zeros(scratch, device="cuda")
        self.state = torch.zeros(state // 4, dtype=torch.int32, device="cuda")
        self.chosen = torch.zeros(4096, dtype=torch.int32, device="cuda")
        self.stream = torch.cuda.Stream()
        self.graphs = {}

    def launch(self, name, arguments, *numbers, edge):
        attribute = LaunchAttribute(6, 0, (ct.c_uint32 * 16)(1))  # programmatic stream serialization
        config = LaunchConfig(self.blocks, 1, 1, self.threads, 1, 1, self.shared[name], self.stream.cuda_stream, ct.pointer(attribute),
                              1 if edge and self.isProgrammatic else 0)
        values = [arguments] + [ct.c_int(n) for n in numbers]
        pointers = (ct.c_void_p * len(values))(*[ct.cast(ct.byref(v), ct.c_void_p) for v in values])
        check(driver.cuLaunchKernelEx(ct.byref(config), self.kernels[name], pointers, None), name)

    def graph(self, isLong, tokens, logits):
        key = (isLong, tokens, logits is not None, self.engine.pointers.data_ptr())
        if key in self.graphs:
            return self.graphs[key][0]
        e, layers = self.engine, self.engine.model.s.L
        a = Arguments(*[t.data_ptr() for t in (e.layers, e.head, e.model.embedding, self.normTable, e.model.frequencies, e.pointers, self.scratch)],
                      logits.data_ptr() if logits is not None else 0, self.chosen.data_ptr(), self.state.data_ptr())
        torch.cuda.synchronize()
        stream = ct.c_void_p(self.stream.cuda_stream)
        check(driver.cuStreamBeginCapture_v2(stream, 1), "capture")
        for token in range(tokens):
            for layer in range(layers):
                self.launch("input", a, layer, token, edge=token + layer > 0)
                for name in (["attend", "merge"] if isLong else ["output"]) + ["gated", "down"]:
                    self.launch(name, a, layer, token, edge=True)
            self.launch("head", a, token, tokens, edge=True)
        graph, ready = ct.c_void_p(), ct.c_void_p()
        check(driver.cuStreamEndCapture(stream, ct.byref(graph)), "capture")
        check(driver.cuGraphInstantiateWithFlags(ct.byref(ready), graph, ct.c_ulonglong(0)), "instantiate")
        check(driver.cuGraphUpload(ready, stream), "upload")
        self.graphs[key] = (ready, a, logits)
        return ready

    def run(self, token, position, steps, tokens=1, logits=None):
        """Microseconds a token; `steps` greedy ones from `token` on."""
        isLong = position + steps > self.shortest
        ready = self.graph(isLong, tokens, logits)
        self.state.copy_(torch.tensor([0, 0, 0, token, position, 0], dtype=torch.int32))
        start, end = torch.cuda.Event(True), torch.cuda.Event(True)
        torch.cuda.synchronize()
        start.record(self.stream)
        for _ in range(steps // tokens):
            check(driver.cuGraphLaunch(ready, ct.c_void_p(self.stream.cuda_stream)), "graph")
        end.record(self.stream)
        torch.cuda.synchronize()
        state = self.state.tolist()
        assert state[4:] == [position + steps, steps], state
        return start.elapsed_time(end) * 1000 / steps


def verify(rival, before, steps, tokens):
    """Greedy tokens behind `before` scattered ones: their logits against an fp32 forward of the same text."""
    engine, model = rival.engine, rival.engine.model
    ids = torch.randint(0, model.s.V, (before + 1,), generator=torch.Generator().manual_seed(7)).tolist()
    engine.reserve(before + steps + 1, isRandom=False)
    if before:
        engine.run(0, before, ids[:before])
    logits = torch.full((steps, model.s.V), float("nan"), device="cuda")
    rival.run(ids[-1], before, steps, tokens, logits)
    chosen = rival.chosen[:steps].tolist()
    reference = model.forward(ids + chosen[:-1])[before:]
    kl = torch.nn.functional.kl_div(logits.log_softmax(-1), reference.log_softmax(-1), log_target=True, reduction="none").sum(-1).max().item()
    isChosen = logits.argmax(-1).tolist() == chosen
    top = reference.topk(2, -1)
    wrong = int(((logits.argmax(-1) != top.indices[:, 0]) & (top.values[:, 0] - top.values[:, 1] > 0.05)).sum())
    print(f"  rival, {steps} tokens behind {before}: KL {kl:.2e}, {wrong} wrong, error {(logits - reference).abs().max().item():.3f} of std "
          f"{reference.std().item():.2f}, choice {'right' if isChosen else 'WRONG'}", flush=True)
    rival.graphs.clear()
    return kl <= 1e-3 and wrong == 0 and isChosen


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", default="qwen3-0.6b", choices=[n for n, s in SHAPES.items() if s.D == 128])
    parser.add_argument("--contexts", default="1,200,500,1900")
    parser.add_argument("--steps", type=int, default=96)
    parser.add_argument("--tokens", type=int, default=1, help="of a graph")
    parser.add_argument("--define", action="append", default=[])
    parser.add_argument("--plain", action="store_true", help="ordinary edges")
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.zeros(1, device="cuda")
    engine = Engine(Model(SHAPES[options.shape]), SHAPES[options.shape].defines())
    rival = Rival(engine, dict(d.split("=", 1) for d in options.define), not options.plain)
    print(f"{options.shape}, {torch.cuda.get_device_name()}, {rival.blocks} blocks, shared memory {rival.shared}")
    isRight = all([verify(rival, before, 32, options.tokens) for before in (0, 60, 300, 1200)])
    contexts = [int(c) for c in options.contexts.split(",") if c]
    engine.reserve(max(contexts) + 600, isRandom=True)
    engine.run(0, 600, [5])
    for context in contexts:
        for _ in range(2):
            rival.run(5, context - 1, options.steps, options.tokens)
        times = [(engine.run(context - 1, options.steps, [5]), rival.run(5, context - 1, options.steps, options.tokens)) for _ in range(5)]
        ours, other = [sorted(t[i] for t in times) for i in range(2)]
        print(f"  context {context}: resident {ours[2]:.1f} us a token ({ours[0]:.1f} to {ours[4]:.1f}), graph {other[2]:.1f} "
              f"({other[0]:.1f} to {other[4]:.1f}), {other[2] / ours[2]:.2f} times", flush=True)
    sys.exit(0 if isRight else 1)


if __name__ == "__main__":
    main()
