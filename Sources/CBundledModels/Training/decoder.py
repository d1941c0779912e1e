"""The two families as one trainable module, with dropout; parameter names are those of transformers' own files.

Qwen3: RMSNorm x*w before attention and MLP, QK-norm, one rope base, SwiGLU, tied head.
Gemma3: RMSNorm x*(1+w) before and after both, QK-norm, window and rope base per layer, GeGLU (tanh), scaled embedding.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Shape:
    family: str  # "qwen3" or "gemma3"
    vocabulary: int
    hidden: int
    layers: int
    query_heads: int
    kv_heads: int
    head: int
    intermediate: int
    rope_base: float = 10_000.0
    local_rope_base: float = 10_000.0
    window: int = 64
    full_every: int = 6
    positions: int = 1024
    dropout: float = 0.1

    def is_sliding(self, layer):
        return self.family == "gemma3" and (layer + 1) % self.full_every != 0


class Norm(nn.Module):
    def __init__(self, size, offset):
        super().__init__()
        self.offset = offset
        self.weight = nn.Parameter(torch.full((size,), 1.0 - offset))

    def forward(self, x):
        return F.rms_norm(x.float(), (x.shape[-1],), self.weight + self.offset, 1e-6).to(x.dtype)


def rope_table(positions, size, base):
    frequency = base ** (-torch.arange(0, size, 2).float() / size)
    angle = torch.outer(torch.arange(positions).float(), frequency).repeat(1, 2)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class Attention(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.s = s
        self.q_proj = nn.Linear(s.hidden, s.query_heads * s.head, bias=False)
        self.k_proj = nn.Linear(s.hidden, s.kv_heads * s.head, bias=False)
        self.v_proj = nn.Linear(s.hidden, s.kv_heads * s.head, bias=False)
        self.o_proj = nn.Linear(s.query_heads * s.head, s.hidden, bias=False)
        offset = float(s.family == "gemma3")
        self.q_norm, self.k_norm = Norm(s.head, offset), Norm(s.head, offset)

    def forward(self, x, cos, sin, mask):
        B, T, _ = x.shape
        s = self.s
        q = rotate(self.q_norm(self.q_proj(x).view(B, T, -1, s.head)).transpose(1, 2).float(), cos, sin).to(x.dtype)
        k = rotate(self.k_norm(self.k_proj(x).view(B, T, -1, s.head)).transpose(1, 2).float(), cos, sin).to(x.dtype)
        v = self.v_proj(x).view(B, T, -1, s.head).transpose(1, 2).to(x.dtype)
        group = s.query_heads // s.kv_heads
        k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        return self.o_proj(y.transpose(1, 2).reshape(B, T, -1))


class MLP(nn.Module):
    def __init__(self, s):
        super().__init__()
        self.gate_proj = nn.Linear(s.hidden, s.intermediate, bias=False)
        self.up_proj = nn.Linear(s.hidden, s.intermediate, bias=False)
        self.down_proj = nn.Linear(s.intermediate, s.hidden, bias=False)
        self.gemma = s.family == "gemma3"

    def forward(self, x):
        gate = self.gate_proj(x)
        gate = F.gelu(gate, approximate="tanh") if self.gemma else F.silu(gate)
        return self.down_proj(gate * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, s, sliding):
        super().__init__()
        self.gemma, self.sliding = s.family == "gemma3", sliding
        offset = float(self.gemma)
        self.self_attn, self.mlp = Attention(s), MLP(s)
        self.input_layernorm, self.post_attention_layernorm = Norm(s.hidden, offset), Norm(s.hidden, offset)
        if self.gemma:
            self.pre_feedforward_layernorm = Norm(s.hidden, offset)
            self.post_feedforward_layernorm = Norm(s.hidden, offset)
        self.drop = nn.Dropout(s.dropout)

    def forward(self, x, cos, sin, mask):
        y = self.self_attn(self.input_layernorm(x), cos, sin, mask)
        if self.gemma:
            x = x + self.drop(self.post_attention_layernorm(y))
            return x + self.drop(self.post_feedforward_layernorm(self.mlp(self.pre_feedforward_layernorm(x))))
        x = x + self.drop(y)
        return x + self.drop(self.mlp(self.post_attention_layernorm(x)))


class Decoder(nn.Module):
    """ids [B, T] -> hidden states after the last norm [B, T, C]."""

    def __init__(self, s):
        super().__init__()
        self.s = s
        self.embed_tokens = nn.Embedding(s.vocabulary, s.hidden)
        self.layers = nn.ModuleList(Layer(s, s.is_sliding(i)) for i in range(s.layers))
        self.norm = Norm(s.hidden, float(s.family == "gemma3"))
        self.drop = nn.Dropout(s.dropout)
        for parameter in self.parameters():
            if parameter.dim() == 2:
                nn.init.normal_(parameter, std=parameter.shape[1] ** -0.5)
        nn.init.normal_(self.embed_tokens.weight, std=s.hidden**-0.5 if s.family == "gemma3" else 0.02)
        if s.family == "qwen3":
            for layer in self.layers:
                for linear in (layer.self_attn.o_proj, layer.mlp.down_proj):
                    nn.init.normal_(linear.weight, std=linear.weight.shape[1] ** -0.5 / (2 * s.layers) ** 0.5)
        for name, base in (("full", s.rope_base), ("local", s.local_rope_base)):
            cos, sin = rope_table(s.positions, s.head, base)
            self.register_buffer(f"{name}_cos", cos, persistent=False)
            self.register_buffer(f"{name}_sin", sin, persistent=False)
        i = torch.arange(s.positions)
        distance = i[:, None] - i[None, :]
        self.register_buffer("near", (distance >= 0) & (distance < s.window), persistent=False)

    def forward(self, ids):
        T = ids.shape[1]
        x = self.embed_tokens(ids)
        if self.s.family == "gemma3":
            x = x * self.s.hidden**0.5
        x = self.drop(x)
        if torch.is_autocast_enabled(x.device.type):
            x = x.to(torch.get_autocast_dtype(x.device.type))
        for layer in self.layers:
            kind = "local" if layer.sliding else "full"
            cos, sin = getattr(self, f"{kind}_cos")[:T], getattr(self, f"{kind}_sin")[:T]
            x = layer(x, cos, sin, self.near[:T, :T] if layer.sliding else None)
        return self.norm(x)

    def logits(self, ids):
        return F.linear(self.forward(ids), self.embed_tokens.weight)
