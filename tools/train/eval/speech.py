"""Read the held-out sentences aloud with every voice of an exported model, and with its teacher.

Writes OUT/model/VOICE/000.wav and OUT/teacher/VOICE/000.wav, for wer.py, and prints how the
durations compare."""
import argparse
import json
import os
import sys
import time

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from make_sets import write_wav  # noqa: E402
from nano import checkpoint, flite, talker  # noqa: E402
from nano.codec import LEAD, TAIL  # noqa: E402
from nano.config import FRAME, VOICES  # noqa: E402

RATE = 24000


def teach(out, texts, folder):
    """-> seconds of speech by voice; writes the teacher's wavs unless they are there"""
    voices = flite.Flite(sorted(set(VOICES.values())), folder)
    seconds = {}
    for voice, teacher in VOICES.items():
        os.makedirs(f"{out}/teacher/{voice}", exist_ok=True)
        seconds[voice] = []
        for i, text in enumerate(texts):
            x = voices.say(text, teacher)
            write_wav(f"{out}/teacher/{voice}/{i:03d}.wav", x)
            seconds[voice].append(len(x) / flite.RATE)
    return seconds


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--model", required=True)
    ap.add_argument("--sets", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--flite")
    ap.add_argument("--limit", type=int, default=200)
    ap.add_argument("--batch", type=int, default=100)
    a = ap.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tokenizer, thinker, net, code2wav = checkpoint.load(a.model, device)
    table = thinker.model.embed_tokens.weight
    with open(f"{a.sets}/speech.json", encoding="utf-8") as f:
        texts = [row["text"] for row in json.load(f)][:a.limit]
    taught = teach(a.out, texts, a.flite)
    for voice in VOICES:
        begin = time.time()
        os.makedirs(f"{a.out}/model/{voice}", exist_ok=True)
        codes = []
        for i in range(0, len(texts), a.batch):
            codes += talker.speak(net, table, tokenizer, texts[i:i + a.batch], voice, device)
        for i, c in enumerate(codes):
            with torch.no_grad():
                x = code2wav(c.T[None].long().to(device))[0].cpu().numpy()
            write_wav(f"{a.out}/model/{voice}/{i:03d}.wav", x, RATE)
        frames = np.array([len(c) for c in codes])
        want = LEAD + TAIL + np.ceil(np.array(taught[voice]) * RATE / FRAME)
        near = np.abs(frames / want - 1) <= .25
        print("%s: %d of %d within 25 %% of the teacher's duration, worst %.2f, %.0f s" % (
            voice, near.sum(), len(near), (frames / want)[np.abs(frames / want - 1).argmax()],
            time.time() - begin), flush=True)
        with open(f"{a.out}/model/{voice}.json", "w", encoding="utf-8") as f:
            json.dump([c.tolist() for c in codes], f)


if __name__ == "__main__":
    main()
