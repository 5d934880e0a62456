"""Inputs of the towers, computed as the published processors compute them."""
import functools

import numpy as np
import torch

from .config import MERGE, PATCH

MEL_BINS, N_FFT, HOP, RATE = 128, 400, 160, 16000
REFLECT = N_FFT // 2


@functools.lru_cache(None)
def slaney_bank(device="cpu"):
    """-> [128, 201] mel filters, Slaney scale and norm, 0 to 8000 Hz"""
    def hz(m):
        return np.where(m >= 15, 1000.0 * np.exp(np.log(6.4) / 27.0 * (m - 15)), 200.0 / 3 * m)

    top = 15 + 27.0 / np.log(6.4) * np.log(8.0)
    points = hz(np.linspace(0.0, top, MEL_BINS + 2))
    f = np.linspace(0, RATE // 2, 1 + N_FFT // 2)
    up = (f[None] - points[:-2, None]) / (points[1:-1] - points[:-2])[:, None]
    down = (points[2:, None] - f[None]) / (points[2:] - points[1:-1])[:, None]
    bank = np.maximum(0, np.minimum(up, down)) * (2.0 / (points[2:] - points[:-2]))[:, None]
    return torch.from_numpy(bank).float().to(device)


def whisper_mel(wave, samples):
    """wave [B, T] at 16 kHz, row b cut to samples[b] (a multiple of 160); -> log mel
    [B, 128, T/160] with zeros past the end, frames [B]

    The processor does not pad, so it reflects a wave at its own end: do the same here."""
    n = wave.shape[1]
    at = torch.arange(n + REFLECT, device=wave.device)[None]
    end = samples[:, None]
    source = torch.where(at < end, at, 2 * (end - 1) - at).clamp(0, n - 1)
    live = at < end + REFLECT
    wave = torch.where(live, wave.gather(1, source), 0.0)
    wave = torch.cat([wave[:, 1:REFLECT + 1].flip(1), wave], 1)
    s = torch.stft(wave, N_FFT, HOP, window=torch.hann_window(N_FFT, device=wave.device),
                   center=False, return_complex=True)
    power = s[..., :n // HOP].abs() ** 2
    mel = torch.log10((slaney_bank(wave.device) @ power).clamp(min=1e-10))
    frames = samples // HOP
    valid = torch.arange(mel.shape[-1], device=wave.device)[None, None] < frames[:, None, None]
    peak = torch.where(valid, mel, -20.0).amax((1, 2), keepdim=True)
    mel = (torch.maximum(mel, peak - 8.0) + 4.0) / 4.0
    return torch.where(valid, mel, 0.0), frames


def to_patches(images):
    """uint8 [B, H, W, 3] -> float [B, patches, 3*2*16*16] in merge order (a still picture fills
    both time steps of a patch)"""
    x = (images.permute(0, 3, 1, 2).float() / 255.0 - 0.5) / 0.5
    b, c, h, w = x.shape
    gh, gw = h // PATCH, w // PATCH
    x = x.view(b, 1, c, gh // MERGE, MERGE, PATCH, gw // MERGE, MERGE, PATCH)
    x = x.expand(b, 2, *x.shape[2:]).permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
    return x.reshape(b, gh * gw, c * 2 * PATCH * PATCH)
