"""Discriminators of the codec: period and spectrogram views of the waveform."""
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.parametrizations import weight_norm


class PeriodView(nn.Module):
    def __init__(self, period, channels=(16, 48, 128, 256)):
        super().__init__()
        self.period = period
        inside, layers = 1, []
        for c in channels:
            layers.append(weight_norm(nn.Conv2d(inside, c, (5, 1), (3, 1), (2, 0))))
            inside = c
        layers.append(weight_norm(nn.Conv2d(inside, inside, (5, 1), 1, (2, 0))))
        self.layers = nn.ModuleList(layers)
        self.out = weight_norm(nn.Conv2d(inside, 1, (3, 1), 1, (1, 0)))

    def forward(self, x):
        n = x.shape[-1] // self.period * self.period
        x = x[:, :n].view(len(x), 1, -1, self.period)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
            features.append(x)
        return self.out(x), features


class SpectrumView(nn.Module):
    def __init__(self, n_fft, channels=32):
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        shapes = [(2, (3, 9), (1, 2), (1, 4))] + [(channels, (3, 9), (1, 2), (1, 4))] * 2 + \
            [(channels, (3, 3), 1, (1, 1))]
        self.layers = nn.ModuleList(
            [weight_norm(nn.Conv2d(i, channels, k, s, p)) for i, k, s, p in shapes])
        self.out = weight_norm(nn.Conv2d(channels, 1, (3, 3), 1, (1, 1)))

    def forward(self, x):
        with torch.autocast(x.device.type, enabled=False):
            s = torch.stft(x.float(), self.n_fft, self.n_fft // 4, window=self.window,
                           return_complex=True)
            s = s / (s.abs() + 1e-2).pow(0.7)                # compressed magnitudes
        x = torch.view_as_real(s).permute(0, 3, 2, 1)
        features = []
        for layer in self.layers:
            x = F.leaky_relu(layer(x), 0.1)
            features.append(x)
        return self.out(x), features


class Adversary(nn.Module):
    def __init__(self):
        super().__init__()
        self.views = nn.ModuleList([PeriodView(p) for p in (2, 3, 5, 7, 11)]
                                   + [SpectrumView(n) for n in (512, 1024, 2048)])

    def forward(self, x):
        """x [B, T] -> [(scores, features), ...]"""
        return [view(x) for view in self.views]


def judge_loss(made, real):
    """Hinge loss of the discriminators."""
    return sum((1 - r[0].float()).clamp(min=0).mean() + (1 + m[0].float()).clamp(min=0).mean()
               for m, r in zip(made, real)) / len(real)


def deceive_loss(made):
    return sum(-m[0].float().mean() for m in made) / len(made)


def feature_loss(made, real):
    """Mean distance of the discriminators' features, relative to their size."""
    parts = [F.l1_loss(a.float(), b.float()) / (b.float().abs().mean() + 1e-3)
             for m, r in zip(made, real) for a, b in zip(m[1], r[1])]
    return sum(parts) / len(parts)
