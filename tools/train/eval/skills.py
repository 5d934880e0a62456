"""Greedy answers of an exported model on the held-out sets, and how many are right.

Right means: the same text for typed and seen questions; the same words, whatever case and
punctuation, for spoken ones. In two-turn questions the model's own first answer stands in the
history. Transcription is counted as word error rate."""
import argparse
import json
import os
import sys
import time
import wave

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from nano import checkpoint, features, rows  # noqa: E402
from nano.config import ID, IMAGE_SIDE, IMAGE_TOKENS  # noqa: E402
from nano.encoders import CHUNK, audio_tokens  # noqa: E402
from wer import errors, words  # noqa: E402

GOALS = {"text": .95, "unknown": .90, "spoken": .85, "pictures": .90}


def read_wav(path):
    with wave.open(path) as f:
        return np.frombuffer(f.readframes(f.getnframes()), "<i2").astype(np.float32) / 32767


class Answerer:
    """Greedy decoding for one batch of prompts; recomputes everything at each token."""

    def __init__(self, folder, device):
        self.tk, self.net, _, _ = checkpoint.load(folder, device)
        self.device = device

    def prompt(self, turns, kind, count):
        """turns with the last answer missing -> ids, positions [3, n], where the media starts"""
        s = rows.Sample(self.tk, rows.TAGS[0], turns, None, kind, 0, count)
        end = len(self.tk.encode("<|im_end|>\n"))
        return s.ids[:-end].astype(np.int64), s.positions[:, :-end], s.start

    def media(self, row, folder):
        """-> kind, embeddings [n, width], deepstack [list]"""
        if "audio" in row:
            wav = read_wav(f"{folder}/{row['audio']}")
            n = len(wav) // features.HOP * features.HOP
            frames = n // features.HOP
            room = -(-frames // CHUNK) * CHUNK * features.HOP
            x = torch.zeros(1, room, device=self.device)
            x[0, :n] = torch.from_numpy(wav[:n].copy())
            mel, count = features.whisper_mel(x, torch.tensor([n], device=self.device))
            y, _ = self.net.audio_tower(mel, count)
            return "audio", y[0, :audio_tokens(frames)], []
        if "picture" in row:
            image = Image.open(f"{folder}/{row['picture']}").convert("RGB")
            image = np.asarray(image.resize((IMAGE_SIDE, IMAGE_SIDE), Image.BICUBIC))
            patches = features.to_patches(torch.from_numpy(image.copy())[None].to(self.device))
            y, deep = self.net.visual(patches)
            return "picture", y[0, :IMAGE_TOKENS], [d[0] for d in deep]
        return "text", None, []

    @torch.no_grad()
    def answer(self, batch, folder, most=70):
        """batch of (turns, row) -> texts; the last turn's answer is generated"""
        prompts, media = [], []
        for turns, row in batch:
            kind, y, deep = self.media(row, folder)
            asked = [*turns[:-1], (turns[-1][0], "")]
            prompts.append(self.prompt(asked, kind, 0 if y is None else len(y)))
            media.append((y, deep))
        longest = max(len(p[0]) for p in prompts) + most
        b, layers = len(batch), 2
        ids = torch.full((b, longest), ID["endoftext"], device=self.device)
        positions = torch.zeros(3, b, longest, dtype=torch.long, device=self.device)
        at = torch.tensor([len(p[0]) for p in prompts], device=self.device)
        for i, (p, pos, _) in enumerate(prompts):
            ids[i, :len(p)] = torch.from_numpy(p)
            positions[:, i, :len(p)] = torch.from_numpy(pos)
            positions[:, i, len(p):] = torch.arange(longest - len(p)) + int(pos.max()) + 1
        cos, sin = self.net.rope(positions)
        table = self.net.model.embed_tokens.weight
        deep = torch.zeros(layers, b, longest, table.shape[1], device=self.device)
        for i, (y, d) in enumerate(media):
            for k, f in enumerate(d):
                deep[k, i, prompts[i][2]:prompts[i][2] + len(f)] = f
        live = torch.ones(b, dtype=torch.bool, device=self.device)
        every = torch.arange(b, device=self.device)
        for _ in range(most):
            n = int(at.max())
            x = table[ids[:, :n]]
            for i, (y, _) in enumerate(media):
                if y is not None:
                    x[i, prompts[i][2]:prompts[i][2] + len(y)] = y
            hidden = self.net.backbone(x, cos[:, :n], sin[:, :n], deep=list(deep[:, :, :n]))
            best = self.net.lm_head(hidden[every, at - 1]).argmax(-1)
            live = live & (best != ID["im_end"])
            if not live.any():
                break
            ids[every[live], at[live]] = best[live]
            at = at + live
        return [self.tk.decode(ids[i, len(p[0]):at[i]].tolist()) for i, p in enumerate(prompts)]

    def run(self, sets, folder, size=100):
        """-> answers of the last turn; earlier turns are answered by the model as well"""
        out = []
        for i in range(0, len(sets), size):
            part = sets[i:i + size]
            history = [[] for _ in part]
            texts = [None] * len(part)
            for turn in range(max(len(r["turns"]) for r in part)):
                who = [k for k, r in enumerate(part) if turn < len(r["turns"])]
                got = self.answer([([*history[k], part[k]["turns"][turn]], part[k])
                                   for k in who], folder)
                for k, text in zip(who, got):
                    history[k].append((part[k]["turns"][turn][0], text))
                    texts[k] = text
            out += texts
        return out


def score(name, sets, got):
    """-> figure, figures by skill"""
    if name == "transcription":
        wrong = total = 0
        for row, text in zip(sets, got):
            wrong += errors(words(row["text"]), words(text))
            total += len(words(row["text"]))
        return wrong / total, {}
    by = {}
    for row, text in zip(sets, got):
        want = row["turns"][-1][1]
        right = words(text) == words(want) if name == "spoken" else text == want
        hit = by.setdefault(row.get("skill", name), [0, 0])
        hit[0], hit[1] = hit[0] + right, hit[1] + 1
    total = sum(h[0] for h in by.values()) / len(sets)
    return total, {k: "%d/%d" % tuple(v) for k, v in sorted(by.items())}


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--model", required=True, help="exported folder")
    ap.add_argument("--sets", required=True, help="folder of make_sets.py")
    ap.add_argument("--out", help="JSON file for figures and wrong answers")
    a = ap.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    answerer, report = Answerer(a.model, device), {}
    for name in ("text", "unknown", "transcription", "spoken", "pictures"):
        begin = time.time()
        with open(f"{a.sets}/{name}.json", encoding="utf-8") as f:
            sets = json.load(f)
        got = answerer.run(sets, a.sets)
        figure, by = score(name, sets, got)
        goal = f"goal at least {GOALS[name]}" if name in GOALS else "word errors, goal at most 0.1"
        print("%-14s %.3f (%s), %d cases, %.0f s" % (name, figure, goal, len(sets),
                                                     time.time() - begin), by, flush=True)
        report[name] = dict(figure=figure, by=by, wrong=[
            dict(turns=row["turns"], heard=row.get("text"), got=text)
            for row, text in zip(sets, got) if words(text) != words(row["turns"][-1][1])])
    if a.out:
        with open(a.out, "w", encoding="utf-8") as f:
            json.dump(report, f, indent=1)


if __name__ == "__main__":
    main()
