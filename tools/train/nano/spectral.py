"""Mel filter banks, resampling and the multi-resolution spectral loss, on the GPU."""
import functools
import math

import numpy as np
import torch
import torch.nn.functional as F

RATE = 24000
SCALES = ((256, 24), (512, 48), (1024, 80), (2048, 128))      # (FFT size, mel bands)


def mel_bank(bands, n_fft, rate=RATE, low=20.0, high=8000.0):
    """-> [bands, n_fft/2+1] triangles; the teachers have nothing above 8 kHz"""
    def mel(f):
        return 2595.0 * math.log10(1 + f / 700.0)

    points = 700.0 * (10 ** (torch.linspace(mel(low), mel(high), bands + 2) / 2595.0) - 1)
    f = torch.linspace(0, rate / 2, n_fft // 2 + 1)
    left, mid, right = points[:-2, None], points[1:-1, None], points[2:, None]
    # bands narrower than an FFT bin keep the bin's share rather than vanish
    bank = torch.minimum((f - left) / (mid - left), (right - f) / (right - mid)).clamp(min=0)
    empty = bank.sum(-1) == 0
    nearest = (f[None] - mid).abs().argmin(-1)
    bank[empty, nearest[empty]] = 1.0
    return bank


@functools.lru_cache(None)
def constants(n_fft, bands, device):
    """-> Hann window, mel bank on the device"""
    return torch.hann_window(n_fft, device=device), mel_bank(bands, n_fft).to(device)


def spectral_loss(made, target):
    """made, target [B, T] -> scalar; log mel, log magnitude and spectral convergence"""
    total = 0.0
    for n, bands in SCALES:
        window, bank = constants(n, bands, made.device)
        a, b = (torch.stft(x, n, n // 4, window=window, return_complex=True).abs()
                for x in (made, target))
        total = total + F.l1_loss(torch.log((bank @ a).clamp(min=1e-2)),
                                  torch.log((bank @ b).clamp(min=1e-2)))
        total = total + 0.5 * F.l1_loss(torch.log(a.clamp(min=2e-2)),
                                        torch.log(b.clamp(min=2e-2)))
        total = total + 0.5 * (a - b).norm() / (b.norm() + 1e-3)
    return total / len(SCALES)


@functools.lru_cache(None)
def _phases(up, down, device):
    """-> one windowed-sinc filter per output phase [up, 1, taps], inputs before the first one"""
    half = 16 * max(up, down)
    n = np.arange(-half, half + 1)
    cut = 0.94 / max(up, down)
    h = cut * np.sinc(cut * n) * np.kaiser(2 * half + 1, 8.0) * up
    first, last = -(half // up), ((up - 1) * down + half) // up
    taps = np.zeros((up, 1, last - first + 1), np.float32)
    for p in range(up):
        for t in range(first, last + 1):
            at = p * down - t * up + half
            if 0 <= at <= 2 * half:
                taps[p, 0, t - first] = h[at]
    return torch.from_numpy(taps).to(device), -first


def resample(x, up, down):
    """x [B, T] -> [B, ceil(T*up/down)], windowed sinc, only the wanted outputs"""
    taps, before = _phases(up, down, x.device)
    n = -(-x.shape[1] * up // down)
    rounds = -(-n // up)
    after = max(0, (rounds - 1) * down + taps.shape[-1] - before - x.shape[1])
    y = F.conv1d(F.pad(x, (before, after))[:, None], taps, stride=down)
    return y[:, :, :rounds].transpose(1, 2).reshape(len(x), -1)[:, :n]
