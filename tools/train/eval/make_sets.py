"""Write the held-out evaluation sets: same generators as the training, other seed.

  OUT/speech.json         sentences to read aloud
  OUT/text.json           questions, without the out-of-skill ones, a tenth of them two-turn
  OUT/unknown.json        out-of-skill requests, half of them in forms the training never saw
  OUT/transcription.json  utterances with their teacher voice, OUT/audio/*.wav
  OUT/spoken.json         spoken questions, OUT/audio/*.wav
  OUT/pictures.json       pictures with a question each, OUT/pictures/*.png
"""
import argparse
import json
import os
import random
import sys
import wave

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from nano import dialogue, everyday, pictures, skills, unknown  # noqa: E402
from nano.config import VOICES  # noqa: E402
from nano.flite import RATE, Flite  # noqa: E402
from nano.words import Lexicon  # noqa: E402

MAX_SECONDS = 5.4            # clips of the training end at 6 s


def write_wav(path, x, rate=RATE):
    with wave.open(path, "wb") as f:
        f.setnchannels(1)
        f.setsampwidth(2)
        f.setframerate(rate)
        f.writeframes((np.clip(x, -1, 1) * 32767).astype("<i2").tobytes())


def no_digits(text):
    return not any(c.isdigit() for c in text)


class Sets:
    def __init__(self, out, lexicon, flite, seed):
        self.out, self.lex = out, Lexicon(lexicon)
        self.flite, self.seed = flite, seed
        self.voices = list(VOICES)
        for folder in ("audio", "pictures"):
            os.makedirs(f"{out}/{folder}", exist_ok=True)

    def write(self, name, rows):
        with open(f"{self.out}/{name}.json", "w", encoding="utf-8") as f:
            json.dump(rows, f, indent=0)
        print(name, len(rows))

    def speech(self, r, n):
        self.write("speech", [dict(text=everyday.everyday(r)) for _ in range(n)])

    def text(self, r, n):
        rows = []
        while len(rows) < n:
            tag, turns = dialogue.conversation(r, self.lex)
            if tag == "unknown" or tag == "two turns" and r.random() < .3:
                continue
            rows.append(dict(skill=tag, turns=turns))
        self.write("text", rows)

    def unknown(self, r, n):
        self.write("unknown", [
            dict(skill="unseen form" if i % 2 else "seen form", turns=[
                (unknown.unknown(r, self.lex, held_out=i % 2 == 1), unknown.UNKNOWN)])
            for i in range(n)])

    def _clip(self, r, name, text):
        """-> the entry of a spoken text, or None when it is too long"""
        voice = r.choice(self.voices)
        x = self.flite.say(text, VOICES[voice])
        if len(x) > MAX_SECONDS * RATE:
            return None
        silence = np.zeros(r.randint(0, 4000), np.float32)
        path = f"audio/{name}.wav"
        write_wav(f"{self.out}/{path}", np.concatenate([silence, x, silence]))
        return dict(text=text, voice=voice, audio=path)

    def transcription(self, r, n):
        rows = []
        while len(rows) < n:
            text = everyday.everyday(r)
            clip = self._clip(r, f"said{len(rows):03d}", text) if no_digits(text) else None
            if clip:
                rows.append(dict(clip, turns=[("Transcribe the audio.", text)]))
        self.write("transcription", rows)

    def spoken(self, r, n):
        rows = []
        while len(rows) < n:
            skill, ask, answer = skills.spoken_question(r, self.lex)
            if not no_digits(ask):
                continue
            clip = self._clip(r, f"asked{len(rows):03d}", ask)
            if clip:
                rows.append(dict(clip, skill=skill, turns=[("", answer)]))
        self.write("spoken", rows)

    def pictures(self, r, n):
        rows = []
        for i in range(n):
            objects, ground = pictures.scene(r)
            path = f"pictures/{i:03d}.png"
            # larger than the model's own size, so that the preprocessor has to resize
            pictures.draw(r, objects, ground, r.choice((192, 256, 384))).save(
                f"{self.out}/{path}")
            tag, turns = pictures.turns(r, objects)
            rows.append(dict(skill=f"{tag}, {len(objects)} shapes", picture=path, turns=turns))
        self.write("pictures", rows)

    def all(self, share=1.0):
        for i, (name, n) in enumerate((("speech", 200), ("text", 500), ("unknown", 200),
                                       ("transcription", 200), ("spoken", 200),
                                       ("pictures", 300))):
            getattr(self, name)(random.Random(self.seed + i), max(4, int(n * share)))


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--out", required=True)
    ap.add_argument("--lexicon", default="/usr/share/dict/scowl")
    ap.add_argument("--flite", help="folder of flite's shared libraries")
    ap.add_argument("--seed", type=int, default=900000)
    ap.add_argument("--share", type=float, default=1.0, help="part of the full sizes")
    a = ap.parse_args()
    Sets(a.out, a.lexicon, Flite(sorted(set(VOICES.values())), a.flite), a.seed).all(a.share)


if __name__ == "__main__":
    main()
