"""Rows, clips and pictures of the thinker on the GPU; shards are added as they appear."""
import glob

import numpy as np
import torch

from .encoders import audio_tokens
from .features import HOP, whisper_mel
from .rows import MAX_CLIP_SECONDS, MAX_CTC
from .speech_store import Shard

MEL_FRAMES = MAX_CLIP_SECONDS * 100
FIELDS = ("ids", "labels", "positions", "segments", "tags", "places", "items")


class Rows:
    """Packed rows of one kind. `items` also stays on the host, which picks the clips."""

    def __init__(self, device):
        self.device, self.parts, self.count = device, [], 0
        self.joined = None

    def add(self, file, first_item=0):
        part = {k: file[k] for k in FIELDS if k in file}
        if "items" in part:
            part["items"] = np.where(part["items"] >= 0, part["items"] + first_item, -1)
        self.parts.append(part)
        self.count += len(part["ids"])

    def get(self):
        """-> dict of tensors over all rows so far, and `items` as a host array"""
        if self.parts:
            new = {k: np.concatenate([p[k] for p in self.parts]) for k in self.parts[0]}
            items = new.pop("items", None)
            new = {k: torch.from_numpy(v).to(self.device) for k, v in new.items()}
            if self.joined:
                new = {k: torch.cat([self.joined[0][k], v]) for k, v in new.items()}
                if items is not None:
                    items = np.concatenate([self.joined[1], items])
            self.joined, self.parts = (new, items), []
        return self.joined


class Clips:
    """Log-mel features of the clips, with their transcription for the CTC loss."""

    def __init__(self, capacity, device):
        self.device, self.count = device, 0
        dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.mel = torch.zeros(capacity, 128, MEL_FRAMES, dtype=dtype, device=device)
        self.frames = torch.zeros(capacity, dtype=torch.long, device=device)
        self.text = torch.zeros(capacity, MAX_CTC, dtype=torch.long, device=device)
        self.tokens = np.zeros(capacity, np.int64)       # audio tokens, for the CTC loss
        self.text_length = np.zeros(capacity, np.int64)

    def room(self, n):
        return self.count + n <= len(self.mel)

    def add(self, shard, cut, batch=100):
        """cut [n, 2]: silence in front and length of every clip (0: not used)"""
        n, base = len(cut), self.count
        start = np.concatenate([[0], np.cumsum(shard.samples)])
        ends = np.concatenate([[0], np.cumsum(shard.counts)])
        text = np.zeros((n, MAX_CTC), np.int64)
        for u in range(n):
            if cut[u, 1]:
                mine = shard.tokens[ends[u]:ends[u + 1]]
                text[u, :len(mine)] = mine
        pcm = torch.from_numpy(shard.pcm).to(self.device)
        for i in range(0, n, batch):
            length = torch.from_numpy(cut[i:i + batch, 1].astype(np.int64)).to(self.device)
            wave = torch.zeros(len(length), MEL_FRAMES * HOP, device=self.device)
            for k, u in enumerate(range(i, min(n, i + batch))):
                if cut[u, 1]:
                    m = min(shard.samples[u], cut[u, 1] - cut[u, 0])
                    wave[k, cut[u, 0]:cut[u, 0] + m] = \
                        pcm[start[u]:start[u] + m].float() / 32767
            noisy = torch.rand(len(wave), 1, device=self.device) < .4
            level = 10 ** (torch.rand(len(wave), 1, device=self.device) * 2.2 - 4.5)
            wave = wave + torch.randn_like(wave) * level * noisy
            mel, frames = whisper_mel(wave, length.clamp(min=HOP * 2))
            at = slice(base + i, base + i + len(wave))
            self.mel[at], self.frames[at] = mel.to(self.mel.dtype), frames
        at = slice(base, base + n)
        self.text[at] = torch.from_numpy(text).to(self.device)
        self.text_length[at] = shard.counts
        self.tokens[at] = audio_tokens(cut[:, 1].astype(np.int64) // HOP)
        self.count += n
        return base


class Store:
    """Everything the thinker trains on; the first shards of each kind are for validation."""

    def __init__(self, data, device, clips, pictures):
        self.data, self.device, self.seen = data, device, set()
        self.clips = Clips(clips, device)
        self.pictures, self.picture_count = None, 0
        self.picture_room = pictures
        kinds = ("text", "audio", "picture")
        self.train = {k: Rows(device) for k in kinds}
        self.valid = {k: Rows(device) for k in kinds}

    def poll(self, most=30):
        """Reads up to `most` new shards -> how many were read"""
        read = 0
        for kind in ("text", "picture", "audio"):
            for path in sorted(glob.glob(f"{self.data}/{kind}/*.npz")):
                if path in self.seen or read == most:
                    continue
                if kind == "audio" and not glob.glob(path.replace("/audio/", "/speech/")):
                    continue
                first = not any(f"/{kind}/" in p for p in self.seen)
                self.seen.add(path)
                read += self._read(kind, path, self.valid if first else self.train)
        return read

    def _read(self, kind, path, where):
        with np.load(path) as f:
            if kind == "text":
                where[kind].add(f)
            elif kind == "picture":
                images = torch.from_numpy(f["images"]).to(self.device)
                if self.pictures is None:
                    self.pictures = torch.zeros(self.picture_room, *images.shape[1:],
                                                dtype=torch.uint8, device=self.device)
                if self.picture_count + len(images) > len(self.pictures):
                    return 0
                base = self.picture_count
                self.pictures[base:base + len(images)] = images
                self.picture_count += len(images)
                where[kind].add(f, base)
            elif self.clips.room(len(f["cut"])):
                shard = Shard(path.replace("/audio/", "/speech/"))
                where[kind].add(f, self.clips.add(shard, f["cut"]))
        return 1


class Batches:
    """Draws batches with a fixed number of rows of each kind."""

    def __init__(self, rows, clips, counts, seed):
        self.clips, self.counts, self.rng = clips, counts, np.random.default_rng(seed)
        self.rows = rows
        self.order = {k: np.zeros(0, np.int64) for k in counts}

    def _indices(self, kind, total):
        n = self.counts[kind]
        while len(self.order[kind]) < n:
            self.order[kind] = np.concatenate([self.order[kind], self.rng.permutation(total)])
        out, self.order[kind] = self.order[kind][:n], self.order[kind][n:]
        return out

    def draw(self):
        return self.take({k: self._indices(k, len(self.rows[k].get()[0]["ids"]))
                          for k in self.counts})

    def take(self, indices):
        """-> dict: text fields [B, ROW] with text, audio and picture rows in this order, the
        clips and pictures of the batch, and the host's CTC lengths"""
        parts, media = [], {}
        for kind, index in indices.items():
            tensors, items = self.rows[kind].get()
            at = torch.from_numpy(index).to(self.clips.device, non_blocking=True)
            parts.append({k: v[at] for k, v in tensors.items()})
            if items is not None:
                media[kind] = items[index].reshape(-1)
        out = {k: torch.cat([p[k] for p in parts]) for k in FIELDS[:5]}
        for (kind, index), part in zip(indices.items(), parts):
            if kind in media:
                chosen = np.maximum(media[kind], 0).astype(np.int64)
                out[kind + " places"] = part["places"]
                out[kind + " items"] = torch.from_numpy(chosen).to(self.clips.device,
                                                                   non_blocking=True)
        chosen = np.maximum(media["audio"], 0)
        used = media["audio"] >= 0
        out["ctc used"] = torch.from_numpy(used).to(self.clips.device, non_blocking=True)
        out["ctc in"] = torch.from_numpy(np.maximum(self.clips.tokens[chosen], 1))
        out["ctc out"] = torch.from_numpy(np.where(used, self.clips.text_length[chosen], 0))
        return out
