"""Utterances packed into rows for the talker, in the layout that generate() feeds it."""
import random

import numpy as np

from .config import CODEC, ID, VOICES
from .dialogue import conversation
from .sentences import sentence
from .talker import header

ROW = 512
# Every third conversation carries an audio clip or a picture, whose positions project to zero.
WITH_PROMPT, WITH_MEDIA = .7, .3
FIELDS = ("text", "codec", "frame", "target", "segment")


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
    """Consecutive utterances: frames, voice numbers, token counts [n]; tokens; the first group's
    codes of their frames; the number of their first frame among all frames."""

    def __init__(self, frames, voices, counts, tokens, codes0, first_frame=0):
        self.frames, self.voices, self.counts = frames, voices, counts
        self.tokens, self.codes0 = tokens, codes0
        self.frame_at = np.concatenate([[0], np.cumsum(frames)])
        self.token_at = np.concatenate([[0], np.cumsum(counts)])
        self.first_frame = first_frame

    def part(self, a, b):
        f, t = self.frame_at, self.token_at
        return Utterances(self.frames[a:b], self.voices[a:b], self.counts[a:b],
                          self.tokens[t[a]:t[b]], self.codes0[f[a]:f[b]],
                          self.first_frame + int(f[a]))


class Layout:
    """Turns utterances into rows, some behind a user's turn."""

    def __init__(self, tokenizer, prompts):
        self.prompts = prompts
        self.heads = [header(tokenizer, voice) for voice in VOICES]

    def utterance(self, us, u, rng):
        """-> int32 [4, n]: text id (-1: zero), codec id (-1: none), frame heard (-1: none),
        target"""
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
        first = int(us.frame_at[u])
        heard = np.full(total, -1)
        heard[p + h + 1:] = us.first_frame + first + np.arange(n)
        target = np.full(total, -100)
        target[p + h:-1] = us.codes0[first:first + n]
        target[-1] = CODEC["eos"]
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
                row[:] = np.array([[ID["tts_pad"]], [-1], [-1], [-100], [255]])
                rows.append(row)
                at, segment = 0, 0
            row[:4, at:at + n], row[4, at:at + n] = part, segment
            at, segment = at + n, segment + 1
        return np.stack(rows)
