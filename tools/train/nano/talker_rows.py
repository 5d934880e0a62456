"""Utterances packed into rows for the talker, in the layout that generate() feeds it.

Rows name frames by number and hold no codes, so they can be packed before the codec is fixed."""
import random

import numpy as np
import torch

from .config import CODEBOOK, CODEC, ID, VOICES
from .dialogue import conversation
from .layers import rope, segment_mask
from .sentences import sentence
from .talker import header, rest_of_frame

ROW = 512
# Every third conversation carries an audio clip or a picture, whose positions project to zero.
WITH_PROMPT, WITH_MEDIA = .7, .3
FIELDS = ("text", "codec", "frame", "target", "segment")
END, NOTHING = -1, -100      # targets that are no frames: the end token, no target


def user_parts(tokenizer, lex, n, seed=5):
    """-> token ids of user turns, which stand in front of the assistant's part"""
    r, out = random.Random(seed), []
    for _ in range(n):
        if r.random() < .1:
            asks = [" ".join(sentence(r, lex) for _ in range(r.randint(1, 4)))]
        else:
            asks = [q for q, _ in conversation(r, lex)[1]]
        text = "".join(f"<|im_start|>user\n{q}<|im_end|>\n" for q in asks)
        out.append(np.array(tokenizer.encode(text), np.int64))
    return out


class Utterances:
    """Consecutive utterances: frames, voice numbers, token counts [n]; tokens; the number of their
    first frame among all frames."""

    def __init__(self, frames, voices, counts, tokens, first_frame=0):
        self.frames, self.voices, self.counts, self.tokens = frames, voices, counts, tokens
        self.frame_at = first_frame + np.concatenate([[0], np.cumsum(frames)])
        self.token_at = np.concatenate([[0], np.cumsum(counts)])

    def part(self, a, b):
        t = self.token_at
        return Utterances(self.frames[a:b], self.voices[a:b], self.counts[a:b],
                          self.tokens[t[a]:t[b]], int(self.frame_at[a]))


class Layout:
    """Turns utterances into rows, some behind a user's turn."""

    def __init__(self, tokenizer, prompts):
        self.prompts = prompts
        self.heads = [header(tokenizer, voice) for voice in VOICES]

    def utterance(self, us, u, rng):
        """-> int32 [4, n]: text id (-1: zero), codec id (-1: none), frame heard (-1: none),
        frame to say, END or NOTHING"""
        text_head, codec_head = self.heads[us.voices[u]]
        prompt = self.prompts[rng.integers(len(self.prompts))] \
            if rng.random() < WITH_PROMPT else np.zeros(0, np.int64)
        if len(prompt) and rng.random() < WITH_MEDIA:
            prompt = np.concatenate([prompt[:3], np.full(rng.integers(8, 80), -1), prompt[3:]])
        p, h, n = len(prompt), len(text_head), int(us.frames[u])
        total = p + h + 1 + n
        text = np.full(total, ID["tts_pad"])
        text[:p], text[p:p + h] = prompt, text_head
        body = [*us.tokens[us.token_at[u]:us.token_at[u + 1]], ID["tts_eos"]][:n + 1]
        text[p + h:p + h + len(body)] = body
        codec = np.full(total, -1)
        codec[p:p + h], codec[p + h] = codec_head, CODEC["bos"]
        frames = us.frame_at[u] + np.arange(n)
        heard = np.full(total, -1)
        heard[p + h + 1:] = frames
        target = np.full(total, NOTHING)
        target[p + h:-1], target[-1] = frames, END
        return np.stack([text, codec, heard, target]).astype(np.int32)

    def rows(self, us, seed):
        """-> int32 [R, 5, ROW]; the fields are FIELDS, a padded position has segment 255"""
        rng = np.random.default_rng(seed)
        rows, at, segment = [], ROW, 0
        for u in rng.permutation(len(us.frames)):
            part = self.utterance(us, u, rng)
            n = part.shape[1]
            if n > ROW:
                continue
            if at + n > ROW:
                row = np.empty((5, ROW), np.int32)
                row[:] = np.array([[ID["tts_pad"]], [-1], [-1], [NOTHING], [255]])
                rows.append(row)
                at, segment = 0, 0
            row[:4, at:at + n], row[4, at:at + n] = part, segment
            at, segment = at + n, segment + 1
        return np.stack(rows)


def corrupt(codes, share):
    """Training noise on what the talker hears of itself: some frames lose half of their codes."""
    hit = torch.rand(codes.shape[:2], device=codes.device)[..., None] < share
    level = torch.rand(codes.shape, device=codes.device) < .5
    return torch.where(hit & level, torch.randint_like(codes, CODEBOOK), codes)


def hidden_states(net, table, codes, rows, noise=0.0):
    """rows [B, 5, ROW] -> what the talker's backbone makes of them [B, ROW, width]"""
    text, codec, frame, _, segment = (rows[:, i].long() for i in range(5))
    projected = net.text_projection(table)
    projected = torch.cat([projected, torch.zeros_like(projected[:1])])   # the row of id -1
    x = projected[torch.where(text < 0, len(table), text)]
    special = net.model.codec_embedding(codec.clamp(min=0))
    x = x + torch.where((codec >= 0)[..., None], special, 0).to(x.dtype)
    heard = codes[frame.clamp(min=0)].long()
    heard = corrupt(heard, noise) if noise else heard
    x = x + torch.where((frame >= 0)[..., None], net.embed_codes(heard), 0).to(x.dtype)
    cos, sin = rope(torch.arange(x.shape[1], device=x.device)[None], net.head_dim, net.theta)
    return net.backbone(x, cos, sin, segment_mask(segment, x.dtype))


@torch.no_grad()
def predicted(net, table, codes, rows, batch=32):
    """What the talker says instead of each frame when it has heard the true ones before it
    -> codes like `codes`; frames that are in no row stay as they are"""
    out = codes.clone()
    for part in rows.split(batch):
        target = part[:, 3].flatten().long()
        hidden = hidden_states(net, table, codes, part).flatten(0, 1)[target >= 0]
        first = net.codec_head(hidden)[:, :CODEBOOK].argmax(-1)
        out[target[target >= 0]] = rest_of_frame(net, hidden, first).to(out.dtype)
    return out
