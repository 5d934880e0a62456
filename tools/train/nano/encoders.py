"""Audio and vision towers of the thinker, with the reference's parameter names."""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F

from .layers import rotate

CHUNK = 100                  # mel frames of an audio chunk (n_window 50)
CHUNK_TOKENS = 13            # tokens that a full chunk becomes


def audio_tokens(n_mel):
    """mel frames -> audio tokens, for ints and tensors"""
    return n_mel // CHUNK * CHUNK_TOKENS + (n_mel % CHUNK + 7) // 8


class AudioAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (
            nn.Linear(width, width) for _ in range(4))

    def forward(self, x, mask):
        b, n, d = x.shape
        q, k, v = (p(x).view(b, n, self.heads, -1).transpose(1, 2)
                   for p in (self.q_proj, self.k_proj, self.v_proj))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(y.transpose(1, 2).reshape(b, n, d))


class AudioLayer(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.self_attn = AudioAttention(width, heads)
        self.self_attn_layer_norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)
        self.final_layer_norm = nn.LayerNorm(width)

    def forward(self, x, mask):
        x = x + self.self_attn(self.self_attn_layer_norm(x), mask)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))


class AudioTower(nn.Module):
    def __init__(self, c):
        super().__init__()
        width, channels = c["d_model"], c["downsample_hidden_size"]
        self.conv2d1 = nn.Conv2d(1, channels, 3, 2, padding=1)
        self.conv2d2 = nn.Conv2d(channels, channels, 3, 2, padding=1)
        self.conv2d3 = nn.Conv2d(channels, channels, 3, 2, padding=1)
        bins = (((c["num_mel_bins"] + 1) // 2 + 1) // 2 + 1) // 2
        self.conv_out = nn.Linear(channels * bins, width, bias=False)
        self.layers = nn.ModuleList(
            [AudioLayer(width, c["encoder_attention_heads"], c["encoder_ffn_dim"])
             for _ in range(c["encoder_layers"])])
        self.ln_post = nn.LayerNorm(width)
        self.proj1, self.proj2 = nn.Linear(width, width), nn.Linear(width, c["output_dim"])
        step = math.log(10000) / (width // 2 - 1)
        angle = (torch.arange(CHUNK_TOKENS).float()[:, None]
                 * torch.exp(-step * torch.arange(width // 2).float()))
        self.register_buffer("places", torch.cat([angle.sin(), angle.cos()], 1),
                             persistent=False)

    def forward(self, mel, n_mel):
        """mel [B, bins, S*100] zero padded, n_mel [B] valid frames (at most 800: one attention
        window of the reference) -> [B, S*13, out], valid [B, S*13]"""
        b, bins, t = mel.shape
        s = t // CHUNK
        x = mel.view(b, bins, s, CHUNK).transpose(1, 2).reshape(b * s, 1, bins, CHUNK)
        for conv in (self.conv2d1, self.conv2d2, self.conv2d3):
            x = F.gelu(conv(x))
        x = self.conv_out(x.permute(0, 3, 1, 2).flatten(2))
        x = (x + self.places.to(x.dtype)).view(b, s * CHUNK_TOKENS, -1)
        valid = torch.arange(x.shape[1], device=x.device)[None] < audio_tokens(n_mel)[:, None]
        mask = valid[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        return self.proj2(F.gelu(self.proj1(self.ln_post(x)))), valid


class VisionAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x, cos, sin):
        b, n, d = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        cos, sin = cos.to(q.dtype), sin.to(q.dtype)
        y = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v)
        return self.proj(y.transpose(1, 2).reshape(b, n, d))


class VisionMLP(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.linear_fc1, self.linear_fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x):
        return self.linear_fc2(F.gelu(self.linear_fc1(x), approximate="tanh"))


class VisionBlock(nn.Module):
    def __init__(self, width, heads, inner):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.attn, self.mlp = VisionAttention(width, heads), VisionMLP(width, inner)

    def forward(self, x, cos, sin):
        x = x + self.attn(self.norm1(x), cos, sin)
        return x + self.mlp(self.norm2(x))


class Merger(nn.Module):
    """Four neighbouring patches become one token; deepstack mergers norm after joining them."""

    def __init__(self, width, out, norm_joined):
        super().__init__()
        self.joined, self.norm_joined = 4 * width, norm_joined
        self.ln_q = nn.LayerNorm(self.joined if norm_joined else width, eps=1e-6)
        self.mlp = nn.ModuleList([nn.Linear(self.joined, self.joined), nn.GELU(),
                                  nn.Linear(self.joined, out)])

    def forward(self, x):
        b = x.shape[0]
        x = (self.ln_q(x.reshape(b, -1, self.joined)) if self.norm_joined
             else self.ln_q(x).reshape(b, -1, self.joined))
        for m in self.mlp:
            x = m(x)
        return x


class PatchEmbed(nn.Module):
    def __init__(self, width, patch, temporal):
        super().__init__()
        self.proj = nn.Conv3d(3, width, (temporal, patch, patch), (temporal, patch, patch))


class VisionTower(nn.Module):
    def __init__(self, c):
        super().__init__()
        width = c["hidden_size"]
        self.side = int(c["num_position_embeddings"] ** 0.5)
        self.deepstack = list(c["deepstack_visual_indexes"])
        self.head_dim = width // c["num_heads"]
        self.patch_embed = PatchEmbed(width, c["patch_size"], c["temporal_patch_size"])
        self.pos_embed = nn.Embedding(c["num_position_embeddings"], width)
        self.blocks = nn.ModuleList(
            [VisionBlock(width, c["num_heads"], c["intermediate_size"])
             for _ in range(c["depth"])])
        self.merger = Merger(width, c["out_hidden_size"], False)
        self.merger_list = nn.ModuleList(
            [Merger(width, c["out_hidden_size"], True) for _ in self.deepstack])
        nn.init.normal_(self.pos_embed.weight, 0, 0.02)

    def forward(self, patches):
        """patches [B, side*side, 3*2*16*16] in merge order, as many as position embeddings
        -> tokens [B, side*side/4, out], deepstack features (list of the same shape)"""
        n, dev = self.side, patches.device
        row, col = torch.meshgrid(torch.arange(n, device=dev), torch.arange(n, device=dev),
                                  indexing="ij")
        row, col = (g.reshape(n // 2, 2, n // 2, 2).transpose(1, 2).flatten() for g in (row, col))
        proj = self.patch_embed.proj
        x = F.linear(patches, proj.weight.flatten(1), proj.bias)
        x = x + self.pos_embed.weight[row * n + col].to(x.dtype)
        half = self.head_dim // 2
        f = 1.0 / 10000.0 ** (torch.arange(0, half, 2, device=dev).float() / half)
        angle = torch.cat([row[:, None] * f, col[:, None] * f], -1)
        angle = torch.cat([angle, angle], -1)
        cos, sin = angle.cos(), angle.sin()
        deep = []
        for i, block in enumerate(self.blocks):
            x = block(x, cos, sin)
            if i in self.deepstack:
                deep.append(self.merger_list[self.deepstack.index(i)](x))
        return self.merger(x), deep
