"""Decoder layers of thinker, talker, code predictor and code2wav.

They compute what transformers' qwen3_omni_moe classes compute, with the same parameter names, but
on dense batches with fixed shapes. check_reference.py compares the two."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


class RMSNorm(nn.Module):
    def __init__(self, width, eps=1e-6):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x):
        v = x.float()
        v = v * torch.rsqrt(v.pow(2).mean(-1, keepdim=True) + self.eps)
        return v.to(x.dtype) * self.weight.to(x.dtype)


def rope(positions, head_dim, theta):
    """positions [...] -> cos, sin [..., head_dim]"""
    f = 1.0 / theta ** (torch.arange(0, head_dim, 2, device=positions.device).float() / head_dim)
    angle = positions[..., None].float() * f
    angle = torch.cat([angle, angle], -1)
    return angle.cos(), angle.sin()


def mrope(positions, head_dim, section, theta):
    """positions [3, B, L] (time, height, width) -> cos, sin [B, L, head_dim], interleaved"""
    f = 1.0 / theta ** (torch.arange(0, head_dim, 2, device=positions.device).float() / head_dim)
    freqs = positions[..., None].float() * f
    mixed = freqs[0].clone()
    for axis in (1, 2):
        at = slice(axis, section[axis] * 3, 3)
        mixed[..., at] = freqs[axis][..., at]
    angle = torch.cat([mixed, mixed], -1)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    half = x.shape[-1] // 2
    return x * cos + torch.cat([-x[..., half:], x[..., :half]], -1) * sin


def segment_mask(segments, dtype):
    """segments [B, L] -> additive mask [B, 1, L, L]: causal, and each sample sees only itself"""
    n = segments.shape[1]
    see = segments[:, :, None] == segments[:, None, :]
    see = see & torch.ones(n, n, dtype=torch.bool, device=segments.device).tril()
    return torch.zeros(see.shape, dtype=dtype, device=see.device).masked_fill(
        ~see, float("-inf"))[:, None]


class Attention(nn.Module):
    def __init__(self, width, heads, kv_heads, head_dim, qk_norm=True, eps=1e-6):
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = heads, kv_heads, head_dim
        self.q_proj = nn.Linear(width, heads * head_dim, bias=False)
        self.k_proj = nn.Linear(width, kv_heads * head_dim, bias=False)
        self.v_proj = nn.Linear(width, kv_heads * head_dim, bias=False)
        self.o_proj = nn.Linear(heads * head_dim, width, bias=False)
        self.q_norm = RMSNorm(head_dim, eps) if qk_norm else nn.Identity()
        self.k_norm = RMSNorm(head_dim, eps) if qk_norm else nn.Identity()

    def forward(self, x, cos, sin, mask=None, cache=None):
        """x [B, L, width]; mask None means causal; cache is a dict that keeps keys and values"""
        b, n, _ = x.shape
        q = self.q_norm(self.q_proj(x).view(b, n, self.heads, self.head_dim)).transpose(1, 2)
        k = self.k_norm(self.k_proj(x).view(b, n, self.kv_heads, self.head_dim)).transpose(1, 2)
        v = self.v_proj(x).view(b, n, self.kv_heads, self.head_dim).transpose(1, 2)
        cos, sin = cos[:, None].to(q.dtype), sin[:, None].to(q.dtype)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            if "k" in cache:
                k, v = torch.cat([cache["k"], k], 2), torch.cat([cache["v"], v], 2)
            cache["k"], cache["v"] = k, v
        if self.kv_heads != self.heads:
            k = k.repeat_interleave(self.heads // self.kv_heads, 1)
            v = v.repeat_interleave(self.heads // self.kv_heads, 1)
        causal = mask is None and n > 1 and k.shape[2] == n
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        return self.o_proj(y.transpose(1, 2).reshape(b, n, -1))


class MLP(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.gate_proj = nn.Linear(width, inner, bias=False)
        self.up_proj = nn.Linear(width, inner, bias=False)
        self.down_proj = nn.Linear(inner, width, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Router(nn.Module):
    def __init__(self, width, experts):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(experts, width))


class Experts(nn.Module):
    def __init__(self, width, experts, inner):
        super().__init__()
        self.gate_up_proj = nn.Parameter(torch.empty(experts, 2 * inner, width))
        self.down_proj = nn.Parameter(torch.empty(experts, width, inner))


class MoE(nn.Module):
    """Every expert is evaluated and the unselected ones are weighted with zero: with four experts
    that costs less than gathering. `balance` holds the last load-balancing loss."""

    def __init__(self, width, experts, top_k, inner, shared=0, norm_topk=True):
        super().__init__()
        self.n, self.top_k, self.inner, self.norm_topk = experts, top_k, inner, norm_topk
        self.gate = Router(width, experts)
        self.experts = Experts(width, experts, inner)
        self.has_shared = shared > 0
        if shared:
            self.shared_expert = MLP(width, shared)
            self.shared_expert_gate = nn.Linear(width, 1, bias=False)
        self.balance = None

    def forward(self, x):
        p = F.linear(x, self.gate.weight.to(x.dtype)).float().softmax(-1)
        chosen = torch.zeros_like(p).scatter(-1, p.topk(self.top_k, -1).indices, 1.0)
        w = p * chosen
        if self.norm_topk:
            w = w / w.sum(-1, keepdim=True)
        over = tuple(range(p.dim() - 1))
        self.balance = self.n * (chosen.mean(over) / self.top_k * p.mean(over)).sum()
        gate_up = self.experts.gate_up_proj.to(x.dtype).reshape(self.n * 2 * self.inner, -1)
        h = F.linear(x, gate_up).unflatten(-1, (self.n, 2, self.inner))
        h = F.silu(h[..., 0, :]) * h[..., 1, :] * w.to(x.dtype)[..., None]
        down = self.experts.down_proj.to(x.dtype).permute(1, 0, 2).reshape(-1, self.n * self.inner)
        y = F.linear(h.flatten(-2), down)
        if self.has_shared:
            y = y + torch.sigmoid(self.shared_expert_gate(x)) * self.shared_expert(x)
        return y


class LayerScale(nn.Module):
    def __init__(self, width, value):
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), value))

    def forward(self, x):
        return x * self.scale.to(x.dtype)


class Block(nn.Module):
    def __init__(self, width, heads, kv_heads, head_dim, mlp, qk_norm=True, eps=1e-6,
                 layer_scale=None):
        super().__init__()
        self.self_attn = Attention(width, heads, kv_heads, head_dim, qk_norm, eps)
        self.mlp = mlp
        self.input_layernorm = RMSNorm(width, eps)
        self.post_attention_layernorm = RMSNorm(width, eps)
        self.scaled = layer_scale is not None
        if self.scaled:
            self.self_attn_layer_scale = LayerScale(width, layer_scale)
            self.mlp_layer_scale = LayerScale(width, layer_scale)

    def forward(self, x, cos, sin, mask=None, cache=None):
        y = self.self_attn(self.input_layernorm(x), cos, sin, mask, cache)
        x = x + (self.self_attn_layer_scale(y) if self.scaled else y)
        y = self.mlp(self.post_attention_layernorm(x))
        return x + (self.mlp_layer_scale(y) if self.scaled else y)


class Stack(nn.Module):
    """A bare module that names a group of parameters as the reference does."""


def init_weights(module, layers, std=0.04):
    """Normal weights; projections back into the residual stream start smaller."""
    into_residual = ("o_proj.weight", "down_proj.weight", "experts.down_proj",
                     "out_proj.weight", "fc2.weight")
    for name, p in module.named_parameters():
        if p.dim() >= 2:
            small = name.endswith(into_residual)
            nn.init.normal_(p, 0.0, std / math.sqrt(2 * layers) if small else std)
