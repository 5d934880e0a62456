"""code2wav, the shipped decoder: codes of 80 ms frames -> 24 kHz waveform."""
import torch
import torch.nn as nn
import torch.nn.functional as F

from .layers import MLP, Block, RMSNorm, Stack, init_weights, rope


def snake(x, a, b):
    """x [B, C, T]; frequency a and size b [1, C, 1]"""
    return x + (1.0 / (b + 1e-9)) * torch.sin(x * a).pow(2)


class Snake(nn.Module):
    function = staticmethod(snake)       # replaced by its compiled form on a GPU

    def __init__(self, channels):
        super().__init__()
        self.alpha = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def forward(self, x):
        # The exponents are taken here: parameters as arguments would give a graph per size.
        a, b = torch.exp(self.alpha)[None, :, None], torch.exp(self.beta)[None, :, None]
        return Snake.function(x, a, b)


class CausalConv(nn.Module):
    def __init__(self, inside, out, kernel, dilation=1, groups=1):
        super().__init__()
        self.conv = nn.Conv1d(inside, out, kernel, dilation=dilation, groups=groups)
        self.left = (kernel - 1) * dilation

    def forward(self, x):
        return self.conv(F.pad(x, (self.left, 0)))


class CausalUp(nn.Module):
    def __init__(self, inside, out, kernel, stride):
        super().__init__()
        self.conv = nn.ConvTranspose1d(inside, out, kernel, stride)
        self.cut = kernel - stride       # the reference cuts this much at both ends

    def forward(self, x):
        x = self.conv(x)
        return x[..., self.cut:x.shape[-1] - self.cut].contiguous()


class ConvNeXt(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.dwconv = CausalConv(width, width, 7, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1, self.pwconv2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.gamma = nn.Parameter(torch.full((width,), 1e-2))

    def forward(self, x):
        y = self.norm(self.dwconv(x).transpose(1, 2))
        y = self.pwconv2(F.gelu(self.pwconv1(y))) * self.gamma
        return x + y.transpose(1, 2)


class ResidualUnit(nn.Module):
    def __init__(self, channels, dilation):
        super().__init__()
        self.act1, self.conv1 = Snake(channels), CausalConv(channels, channels, 7, dilation)
        self.act2, self.conv2 = Snake(channels), CausalConv(channels, channels, 1)

    def forward(self, x):
        return x + self.conv2(self.act2(self.conv1(self.act1(x))))


class DecoderBlock(nn.Module):
    def __init__(self, inside, out, rate):
        super().__init__()
        self.block = nn.ModuleList([Snake(inside), CausalUp(inside, out, 2 * rate, rate)]
                                   + [ResidualUnit(out, d) for d in (1, 3, 9)])

    def forward(self, x):
        for b in self.block:
            x = b(x)
        return x


class Code2Wav(nn.Module):
    def __init__(self, c):
        super().__init__()
        width, channels, rates = c["hidden_size"], c["decoder_dim"], c["upsample_rates"]
        self.groups, self.size = c["num_quantizers"], c["codebook_size"]
        self.window = c["sliding_window"]
        self.head_dim = width // c["num_attention_heads"]
        self.theta = c["rope_parameters"]["rope_theta"]
        self.code_embedding = nn.Embedding(self.size * self.groups, width)
        self.pre_transformer = Stack()
        self.pre_transformer.layers = nn.ModuleList(
            [Block(width, c["num_attention_heads"], c["num_key_value_heads"], self.head_dim,
                   MLP(width, c["intermediate_size"]), qk_norm=False, eps=c["rms_norm_eps"],
                   layer_scale=c["layer_scale_initial_scale"])
             for _ in range(c["num_hidden_layers"])])
        self.pre_transformer.norm = RMSNorm(width, c["rms_norm_eps"])
        self.upsample = nn.ModuleList(
            [nn.ModuleList([CausalUp(width, width, f, f), ConvNeXt(width)])
             for f in c["upsampling_ratios"]])
        last = channels // 2 ** len(rates)
        self.decoder = nn.ModuleList(
            [CausalConv(width, channels, 7)]
            + [DecoderBlock(channels // 2 ** i, channels // 2 ** (i + 1), r)
               for i, r in enumerate(rates)]
            + [Snake(last), CausalConv(last, 1, 7)])
        init_weights(self.pre_transformer, c["num_hidden_layers"])
        # samples that the transposed convolutions cut off the end of every call
        self.lost, up = 0, 1
        for r in reversed(rates):
            self.lost += up * r
            up *= r

    def embed(self, codes):
        """codes [B, groups, T] -> [B, T, width]"""
        offset = torch.arange(self.groups, device=codes.device).view(1, -1, 1) * self.size
        return self.code_embedding(codes + offset).mean(1)

    def decode(self, x):
        """embedded frames [B, T, width] -> unclamped waveform [B, T*1920 - lost]"""
        t = x.shape[1]
        i = torch.arange(t, device=x.device)
        cos, sin = rope(i[None], self.head_dim, self.theta)
        mask = (i[:, None] >= i[None]) & (i[:, None] - i[None] < self.window)
        for layer in self.pre_transformer.layers:
            x = layer(x, cos, sin, mask)
        x = self.pre_transformer.norm(x).transpose(1, 2)
        for blocks in self.upsample:
            for b in blocks:
                x = b(x)
        for b in self.decoder:
            x = b(x)
        return x[:, 0]

    def forward(self, codes):
        """codes [B, groups, T] -> waveform [B, T*1920 - lost] in -1..1"""
        return self.decode(self.embed(codes)).clamp(-1, 1)
