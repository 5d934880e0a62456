"""Word error rate of wav files under pocketsphinx (Debian packages pocketsphinx and
pocketsphinx-en-us), an independent recogniser.

  wer.py --sets SETS --speech DIR/VOICE ...    DIR/VOICE/000.wav reads sentence 0 of speech.json
"""
import argparse
import json
import os
import re
import subprocess
import tempfile
import wave
from concurrent.futures import ThreadPoolExecutor

import numpy as np

MODEL = "/usr/share/pocketsphinx/model/en-us"
RATE = 16000


def words(text):
    """Lower-case words without punctuation; hyphens part words."""
    return re.sub(r"[^a-z0-9' ]", "", text.lower().replace("-", " ")).split()


def errors(want, got):
    """Substitutions, insertions and deletions between two word lists."""
    row = list(range(len(got) + 1))
    for i, w in enumerate(want, 1):
        last, row[0] = row[0], i
        for j, g in enumerate(got, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (w != g))
    return row[-1]


def read_16k(path):
    """wav of any rate -> int16 at 16 kHz (linear filtering in the frequency domain)"""
    with wave.open(path) as f:
        rate, x = f.getframerate(), np.frombuffer(f.readframes(f.getnframes()), "<i2")
    if rate == RATE:
        return x, len(x) / rate
    n = int(len(x) * RATE / rate)
    spectrum = np.fft.rfft(x.astype(np.float64))[:n // 2 + 1]
    y = np.fft.irfft(spectrum, n) * n / len(x)
    return np.clip(y, -32767, 32767).astype("<i2"), len(x) / rate


def _batch(waves, model):
    """One run of the recogniser: int16 waves -> texts"""
    with tempfile.TemporaryDirectory() as tmp:
        for i, x in enumerate(waves):
            pad = np.zeros(RATE // 4, "<i2")
            np.concatenate([pad, x, pad]).tofile(f"{tmp}/{i:05d}.raw")
        with open(f"{tmp}/list", "w", encoding="ascii") as f:
            f.write("".join(f"{i:05d}\n" for i in range(len(waves))))
        subprocess.run(
            ["pocketsphinx_batch", "-adcin", "yes", "-adchdr", "0", "-cepdir", tmp, "-cepext",
             ".raw", "-ctl", f"{tmp}/list", "-hyp", f"{tmp}/hyp", "-hmm", f"{model}/en-us",
             "-lm", f"{model}/en-us.lm.bin", "-dict", f"{model}/cmudict-en-us.dict"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        texts = [""] * len(waves)
        with open(f"{tmp}/hyp", encoding="utf-8") as f:
            for line in f:
                text, name = re.fullmatch(r"(.*)\((\d+) [^()]*\)\s*", line).groups()
                texts[int(name)] = re.sub(r"\(\d\)", "", text)
    return texts


def recognise(paths, jobs=1, model=MODEL):
    """-> texts, durations in seconds"""
    waves, seconds = zip(*(read_16k(p) for p in paths))
    parts = [waves[i::jobs] for i in range(jobs)]
    texts = [""] * len(paths)
    with ThreadPoolExecutor(jobs) as pool:
        for i, part in enumerate(pool.map(lambda w: _batch(w, model) if w else [], parts)):
            texts[i::jobs] = part
    return texts, list(seconds)


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--sets", required=True)
    ap.add_argument("--speech", required=True, nargs="+")
    ap.add_argument("--jobs", type=int, default=1, help="recognisers side by side")
    ap.add_argument("--recogniser", default=MODEL, help="folder of its models")
    ap.add_argument("--limit", type=int, default=200)
    ap.add_argument("--out", help="JSON file for what was heard")
    a = ap.parse_args()
    with open(f"{a.sets}/speech.json", encoding="utf-8") as f:
        sets = json.load(f)[:a.limit]
    report = {}
    for folder in a.speech:
        paths = [f"{folder}/{i:03d}.wav" for i in range(len(sets))]
        here = [(row, p) for row, p in zip(sets, paths) if os.path.exists(p)]
        heard, seconds = recognise([p for _, p in here], a.jobs, a.recogniser)
        wrong = sum(errors(words(row["text"]), words(h)) for (row, _), h in zip(here, heard))
        total = sum(len(words(row["text"])) for row, _ in here)
        print("%s: word error rate %.4f (%d of %d words, %d sentences)" %
              (folder, wrong / total, wrong, total, len(here)), flush=True)
        report[folder] = dict(wer=wrong / total, heard=heard, seconds=seconds)
    if a.out:
        with open(a.out, "w", encoding="utf-8") as f:
            json.dump(report, f, indent=1)


if __name__ == "__main__":
    main()
