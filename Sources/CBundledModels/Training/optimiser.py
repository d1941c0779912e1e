"""AdamW with a warm-up and a cosine, a moving average of the weights, and the step as one CUDA graph where there is a GPU."""

import contextlib
import math
import os
import time

import torch


class Trainer:
    """Runs `loss(*batch)` for a fixed number of steps; `average` holds the moving average of the weights."""

    def __init__(self, model, loss, rate, decay, steps, warmup=100, average=0.998, norms=1.0):
        self.model, self.loss, self.steps, self.warmup = model, loss, steps, warmup
        device = next(model.parameters()).device
        self.cuda = device.type == "cuda"
        self.graphed = self.cuda and not os.environ.get("NO_GRAPH")
        matrices = [p for p in model.parameters() if p.dim() == 2]
        vectors = [p for p in model.parameters() if p.dim() != 2]
        options = {"fused": True, "capturable": True} if self.cuda else {}
        self.rates = (rate, rate * norms)
        groups = [
            {"params": p, "weight_decay": d, "lr": torch.tensor(r, device=device) if self.cuda else r}
            for p, d, r in zip((matrices, vectors), (decay, 0.0), self.rates)
        ]
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-8, **options)
        self.parameters = matrices + vectors
        self.averaged = [p.detach().clone() for p in self.parameters]
        self.keep = average
        self.graph = self.static = self.value = None
        self.done = 0

    def autocast(self):
        if not self.cuda:
            return contextlib.nullcontext()
        return torch.autocast("cuda", dtype=torch.bfloat16, cache_enabled=False)

    def compute(self, batch):
        with self.autocast():
            value = self.loss(*batch)
        value.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0, foreach=True)
        self.optimiser.step()
        return value.detach()

    def set_rate(self):
        t = self.done
        share = min(1.0, (t + 1) / self.warmup)
        share *= 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * t / self.steps))
        for group, rate in zip(self.optimiser.param_groups, self.rates):
            if self.cuda:
                group["lr"].fill_(rate * share)
            else:
                group["lr"] = rate * share

    def step(self, batch):
        self.set_rate()
        if not self.graphed or self.done < 4:
            if self.cuda and self.done == 0:
                self.side = torch.cuda.Stream()
            if self.cuda:
                self.side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self.side) if self.cuda else contextlib.nullcontext():
                self.optimiser.zero_grad(set_to_none=True)
                self.value = self.compute(batch)
            if self.cuda:
                torch.cuda.current_stream().wait_stream(self.side)
        elif self.graph is None:
            self.static = [t.clone() for t in batch]
            self.optimiser.zero_grad(set_to_none=True)
            self.graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graph):
                for parameter in self.parameters:
                    parameter.grad = None
                self.value = self.compute(self.static)
            self.graph.replay()
        else:
            for own, new in zip(self.static, batch):
                own.copy_(new)
            self.graph.replay()
        keep = min(self.keep, (self.done + 1) / (self.done + 10))
        torch._foreach_lerp_(self.averaged, [p.detach() for p in self.parameters], 1 - keep)
        self.done += 1
        return self.value

    @contextlib.contextmanager
    def averages(self):
        """The averaged weights in the model's place."""
        own = [p.detach().clone() for p in self.parameters]
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self.averaged)
        try:
            yield
        finally:
            with torch.no_grad():
                torch._foreach_copy_(self.parameters, own)


class Clock:
    def __init__(self):
        self.start = time.time()

    def seconds(self):
        return round(time.time() - self.start, 1)
