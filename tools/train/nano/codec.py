"""Training side of the codec: encoder and residual vector quantiser. Only the codes and the
code embeddings, folded into code2wav, leave the training."""
import torch
import torch.nn as nn
import torch.nn.functional as F

from .config import CODEBOOK, FRAME, GROUPS
from .spectral import constants

HOP, N_FFT, MELS = 240, 1024, 80     # eight mel columns make a frame
DIM = 64                             # width of the quantised space
LEAD = 2                             # silent frames in front of an utterance: while they play,
                                     # the talker reads the first words of its text
TAIL = 1


def log_mel(wave):
    """wave [B, T*1920] -> [B, 80, T*8]; column k is centred on sample 240*k + 120"""
    window, bank = constants(N_FFT, MELS, wave.device)
    side = (N_FFT - HOP) // 2
    s = torch.stft(F.pad(wave, (side, side)), N_FFT, HOP, window=window, center=False,
                   return_complex=True).abs()
    return torch.log((bank @ s).clamp(min=1e-2))


class ChannelNorm(nn.LayerNorm):
    """Layer norm of [B, C, T] over channels: a code depends on its surroundings alone, not on the
    length of the utterance."""

    def forward(self, x):
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class EncoderUnit(nn.Module):
    def __init__(self, width, stride=1):
        super().__init__()
        self.body = nn.Sequential(ChannelNorm(width), nn.GELU(),
                                  nn.Conv1d(width, width, 3, padding=1), ChannelNorm(width),
                                  nn.GELU(), nn.Conv1d(width, width, 3, padding=1))
        self.down = nn.Conv1d(width, width, stride, stride) if stride > 1 else nn.Identity()

    def forward(self, x):
        return self.down(x + self.body(x))


class Encoder(nn.Module):
    """24 kHz waveform [B, T*1920] -> [B, T, DIM]"""

    def __init__(self, width=256):
        super().__init__()
        self.start = nn.Conv1d(MELS, width, 5, padding=2)
        self.units = nn.Sequential(*[EncoderUnit(width, s) for s in (2, 1, 2, 1, 2, 1, 1)])
        self.end = nn.Conv1d(width, DIM, 1)

    def forward(self, wave):
        with torch.no_grad():
            mel = (log_mel(wave) + 1.0) / 2.5
        return self.end(self.units(self.start(mel))).transpose(1, 2)


class Quantiser(nn.Module):
    """Residual quantiser: codebooks are moving averages, entries that nobody uses restart on
    vectors of the batch."""

    def __init__(self, decay=0.99):
        super().__init__()
        self.decay = decay
        self.register_buffer("books", torch.randn(GROUPS, CODEBOOK, DIM))
        self.register_buffer("count", torch.zeros(GROUPS, CODEBOOK))
        self.register_buffer("total", torch.zeros(GROUPS, CODEBOOK, DIM))

    def nearest(self, x, g):
        book = self.books[g]
        return (book.pow(2).sum(-1) - 2 * x @ book.T).argmin(-1)

    def encode(self, x):
        """x [N, DIM] -> codes [N, GROUPS]"""
        codes = []
        for g in range(GROUPS):
            codes.append(self.nearest(x, g))
            x = x - self.books[g][codes[-1]]
        return torch.stack(codes, -1)

    def frozen(self, x):
        """As forward(), for codebooks that stay as they are."""
        codes = self.encode(x)
        quantised = sum(self.books[g][codes[:, g]] for g in range(GROUPS))
        left = (x - quantised).pow(2).sum() / (x - x.mean(0)).pow(2).sum()
        return quantised, F.mse_loss(x, quantised), codes, left

    def forward(self, x):
        """x [N, DIM] float32 -> quantised [N, DIM] (straight through), commitment loss, codes,
        share of the variance left; updates the codebooks"""
        rest, codes, commit = x.detach(), [], 0.0
        quantised = torch.zeros_like(rest)
        for g in range(GROUPS):
            code = self.nearest(rest, g)
            self._update(g, rest, code)
            picked = self.books[g][code]
            quantised = quantised + picked
            commit = commit + F.mse_loss(x, quantised)
            rest = rest - picked
            codes.append(code)
        left = rest.pow(2).sum() / (x.detach() - x.detach().mean(0)).pow(2).sum()
        return x + (quantised - x).detach(), commit / GROUPS, torch.stack(codes, -1), left

    @torch.no_grad()
    def _update(self, g, x, code):
        hot = F.one_hot(code, CODEBOOK).to(x.dtype)
        self.count[g].lerp_(hot.sum(0), 1 - self.decay)
        self.total[g].lerp_(hot.T @ x, 1 - self.decay)
        fresh = x[torch.randint(0, len(x), (CODEBOOK,), device=x.device)]
        dead = (self.count[g] < 0.05)[:, None]
        mean = self.total[g] / self.count[g].clamp(min=1e-4)[:, None]
        self.books[g].copy_(torch.where(dead, fresh, mean))
        self.total[g].copy_(torch.where(dead, fresh, self.total[g]))
        self.count[g].copy_(torch.where(dead[:, 0], torch.ones_like(self.count[g]),
                                        self.count[g]))


def load(checkpoint, device):
    """Checkpoint of train_codec.py or the compact file of export.py -> encoder, quantiser"""
    encoder, quantiser = Encoder().to(device), Quantiser().to(device)
    encoder.load_state_dict({k: v.float() for k, v in checkpoint["encoder"].items()})
    quantiser.books.copy_(checkpoint["quantiser"]["books"].float())
    return encoder.eval(), quantiser.eval()


def compact(checkpoint):
    """What encoding needs, in the bfloat16 it was rounded to before the codes were fixed."""
    return dict(encoder={k: v.bfloat16() for k, v in checkpoint["encoder"].items()},
                quantiser=dict(books=checkpoint["quantiser"]["books"].bfloat16()))


def fold(books, projection):
    """Codebooks [GROUPS, CODEBOOK, DIM] and the linear layer behind the quantiser -> weight of
    code2wav's code embedding: their mean over the groups is the projected sum of the codes."""
    with torch.no_grad():
        rows = GROUPS * books @ projection.weight.T + projection.bias
    return rows.reshape(GROUPS * CODEBOOK, -1)
