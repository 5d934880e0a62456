"""Speech shards on the GPU: 24 kHz waves cut into whole frames, and their codes."""
import glob
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
import torch.nn.functional as F

from . import codec
from .codec import LEAD, TAIL
from .config import FRAME
from .spectral import resample

CONTEXT = 8                  # silent frames behind a wave that the encoder gets to see
BUCKET = 16                  # batches are padded to a multiple of this many frames: convolutions
                             # are tuned anew for every shape


def frames_of(samples):
    """Frames of utterances of so many 16 kHz samples, with lead and tail."""
    return LEAD + TAIL + -(-(samples * 3 // 2) // FRAME)


class Shard:
    """One speech/N.npz: voice, tokens, and waves in 16 kHz."""

    def __init__(self, path):
        with np.load(path) as f:
            self.pcm, self.samples = f["pcm"], f["samples"].astype(np.int64)
            self.voice, self.counts = f["voice"], f["counts"].astype(np.int64)
            self.tokens = f["tokens"]
        self.frames = frames_of(self.samples)

    def waves(self, device, batch=100):
        """Yields (utterance numbers, float waves [n, frames*1920] with lead, tail and context)

        Batches are put together on the host: hundreds of small copies to the GPU cost far more
        than what it computes with them."""
        start = np.concatenate([[0], np.cumsum(self.samples)])
        order = np.argsort(self.samples)
        for i in range(0, len(order), batch):
            which = order[i:i + batch]
            total = -(-(int(self.frames[which].max()) + CONTEXT) // BUCKET) * BUCKET
            x = np.zeros((len(which), (total - LEAD) * FRAME * 2 // 3), np.int16)
            for k, u in enumerate(which):
                x[k, :self.samples[u]] = self.pcm[start[u]:start[u + 1]]
            x = resample(torch.from_numpy(x).to(device).float() / 32767, 3, 2)
            yield which, F.pad(x, (LEAD * FRAME, 0))


def read_ahead(paths, threads=6):
    """Yields the shards in order; threads read the next ones meanwhile."""
    with ThreadPoolExecutor(threads) as pool:
        waiting = deque()
        for path in paths:
            waiting.append(pool.submit(Shard, path))
            if len(waiting) == 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def describe(paths):
    """-> frames, voice, counts of all utterances [n], their tokens joined; reads no waves"""
    parts = []
    for path in paths:
        with np.load(path) as f:
            parts.append((frames_of(f["samples"].astype(np.int64)), f["voice"],
                          f["counts"].astype(np.int64), f["tokens"]))
    return tuple(np.concatenate(p) for p in zip(*parts))


def shard_paths(data):
    return sorted(glob.glob(f"{data}/speech/*.npz"))


def wait_for_shards(data, n):
    """-> at least n paths, or all that there will ever be"""
    while True:
        paths = shard_paths(data)
        if len(paths) >= n or glob.glob(f"{data}/complete"):
            return paths
        time.sleep(1)


def load_waves(paths, device):
    """-> int16 wave [frames*1920] of all utterances joined, frames of each utterance"""
    waves, frames = [], []
    for shard in read_ahead(paths):
        mine = [None] * len(shard.frames)
        for which, x in shard.waves(device):
            x = (x.clamp(-1, 1) * 32767).to(torch.int16).cpu()
            for k, u in enumerate(which):
                mine[u] = x[k, :shard.frames[u] * FRAME]
        waves += mine
        frames.append(shard.frames)
    return torch.cat(waves).to(device), np.concatenate(frames)


@torch.no_grad()
def encode_shard(shard, encoder, quantiser, device):
    """-> codes [frames, GROUPS] int16 of all its utterances in order"""
    codes = [None] * len(shard.frames)
    for which, x in shard.waves(device):
        z = encoder(x)
        c = quantiser.encode(z.reshape(-1, z.shape[-1]).float()).view(*z.shape[:2], -1)
        c = c.to(torch.int16).cpu()
        for k, u in enumerate(which):
            codes[u] = c[k, :shard.frames[u]]
    return torch.cat(codes).to(device)


def encode_all(paths, checkpoint, device):
    """-> codes [frames, GROUPS] int16 of all utterances of all shards in order"""
    encoder, quantiser = codec.load(checkpoint, device)
    return torch.cat([encode_shard(shard, encoder, quantiser, device)
                      for shard in read_ahead(paths)])
