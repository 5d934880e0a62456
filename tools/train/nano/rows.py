"""Samples packed into rows of fixed length for the thinker's training."""
import numpy as np

from .config import ID, IMAGE_SIDE, IMAGE_TOKENS, MERGE, PATCH
from .dialogue import encode
from .skills import SKILLS

TAGS = [*SKILLS, "two turns", "transcription", "spoken question", "picture",
        "picture, two turns"]
ROW = 512                                # tokens of a row
SLOTS = {"text": 0, "audio": 6, "picture": 8}      # clips or pictures that fit a row
AUDIO_MARK = "<|audio_start|><|audio_pad|><|audio_end|>"
PICTURE_MARK = "<|vision_start|><|image_pad|><|vision_end|>"


class Sample:
    """One conversation: ids, labels [n], positions [3, n]; `start` and `count` place its clip or
    picture number `item`."""

    def __init__(self, tokenizer, tag, turns, system=None, kind="text", item=-1, count=0,
                 media_first=True):
        self.tag, self.item, self.count, self.start = TAGS.index(tag), item, count, 0
        if kind != "text":
            mark = AUDIO_MARK if kind == "audio" else PICTURE_MARK
            ask, answer = turns[0]
            turns = [(mark + ask if media_first else ask + mark, answer), *turns[1:]]
        ids, labels = encode(tokenizer, turns, system)
        positions = None
        if kind != "text":
            pad = ID["audio_pad"] if kind == "audio" else ID["image_pad"]
            i = self.start = ids.index(pad)
            ids[i:i + 1] = [pad] * count
            labels[i:i + 1] = [-100] * count
            if kind == "picture":
                positions = picture_positions(len(ids), i)
        self.ids, self.labels = np.array(ids, np.int16), np.array(labels, np.int16)
        self.positions = (np.tile(np.arange(len(ids)), (3, 1)) if positions is None
                          else positions)


def picture_positions(n, start):
    """Time, height and width positions [3, n] of a prompt with one picture at `start`."""
    side = IMAGE_SIDE // (PATCH * MERGE)
    out = np.tile(np.arange(n), (3, 1))
    grid, end = np.arange(IMAGE_TOKENS), start + IMAGE_TOKENS
    out[0, start:end] = start
    out[1, start:end] = start + grid // side
    out[2, start:end] = start + grid % side
    out[:, end:] = np.arange(n - end) + start + side
    return out


def pack(samples, kind):
    """-> dict of arrays: ids, labels [R, ROW] int16, positions [R, 3, ROW] int16, segments [R, ROW]
    uint8, tags [R, ROW] uint8; with media also places [R, ROW] int16 (index into the row's
    slots * tokens, -1: text) and items [R, slots] int32 (-1: empty slot)"""
    slots, per_slot = SLOTS[kind], tokens_per_slot(kind)
    rows, row, used = [], [], 0
    for s in samples:
        if len(s.ids) > ROW:
            continue
        if used + len(s.ids) > ROW or (slots and len(row) == slots) or len(row) == 250:
            rows.append(row)
            row, used = [], 0
        row.append(s)
        used += len(s.ids)
    rows.append(row)
    n = len(rows)
    out = dict(ids=np.full((n, ROW), ID["endoftext"], np.int16),
               labels=np.full((n, ROW), -100, np.int16),
               positions=np.zeros((n, 3, ROW), np.int16),
               segments=np.full((n, ROW), 255, np.uint8), tags=np.zeros((n, ROW), np.uint8))
    if slots:
        out["places"] = np.full((n, ROW), -1, np.int16)
        out["items"] = np.full((n, slots), -1, np.int32)
    for k, row in enumerate(rows):
        at = 0
        for j, s in enumerate(row):
            span = slice(at, at + len(s.ids))
            out["ids"][k, span], out["labels"][k, span] = s.ids, s.labels
            out["positions"][k, :, span] = s.positions
            out["segments"][k, span], out["tags"][k, span] = j, s.tag
            if slots:
                first = at + s.start
                out["places"][k, first:first + s.count] = j * per_slot + np.arange(s.count)
                out["items"][k, j] = s.item
            at += len(s.ids)
    return out


MAX_CLIP_SECONDS = 6
CLIP_TOKENS = MAX_CLIP_SECONDS * 13
MAX_CTC = 60                             # longest transcription of a clip in tokens


def tokens_per_slot(kind):
    return {"text": 0, "audio": CLIP_TOKENS, "picture": IMAGE_TOKENS}[kind]
