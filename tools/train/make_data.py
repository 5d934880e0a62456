"""Generate the training data as shard files: teacher speech, conversations, pictures.

Shards appear one by one, so training commands can start while this one runs:
  speech/N.npz    pcm int16 (16 kHz, trimmed, joined), samples, voice, tokens, counts
  audio/N.npz     rows that listen to clips of speech/N.npz, and how the clips are cut
  text/N.npz      rows of conversations
  picture/N.npz   rows about pictures, and the pictures
"""
import argparse
import multiprocessing as mp
import os
import random
import time

import numpy as np

from nano import dialogue, everyday, pictures, rows, sentences, skills
from nano.config import FRAME, IMAGE_TOKENS, VOICES
from nano.encoders import audio_tokens
from nano.features import HOP, RATE
from nano.tokenizer import Tokenizer
from nano.words import Lexicon

TRANSCRIBE = ["Transcribe the audio.", "Transcribe this audio.", "What did I say?",
              "What is said in the audio?", "Write down what you hear.", "What do you hear?",
              "Transcribe the speech into text.", "Repeat what I said.", "Transcribe this."]
ANSWER = ["", "", "", "Answer the question.", "Please answer."]
MAX_FRAMES = 170                         # longest utterance that the talker learns
_state = {}


def start_worker(lexicon, tokenizer, flite_folder):
    import torch                         # noqa: F401  (rows need no threads of its own)
    torch.set_num_threads(1)
    from nano.flite import Flite
    _state.update(lex=Lexicon(lexicon), tk=Tokenizer.load(tokenizer),
                  flite=Flite(sorted(set(VOICES.values())), flite_folder))
    os.nice(5)


def save(path, **arrays):
    with open(path + ".tmp", "wb") as f:
        np.savez(f, **arrays)
    os.replace(path + ".tmp", path)


def spoken_text(r, lex):
    """-> (text, answer or None): what is said in an utterance, and the answer to a question"""
    x = r.random()
    if x < .40:
        return sentences.reading_text(r, lex), None
    if x < .50:
        return everyday.everyday(r), None
    if x < .85:
        return skills.spoken_question(r, lex)[1:]
    return dialogue.conversation(r, lex)[1][-1][1], None


def speech_shard(out, seed, n):
    r, lex, tk, flite = random.Random(seed), _state["lex"], _state["tk"], _state["flite"]
    waves, voices, tokens, samples, clips = [], [], [], [], []
    names = list(VOICES)
    while len(waves) < n:
        text, answer = spoken_text(r, lex)
        voice = r.randrange(len(names))
        if len(text) > 160:
            continue
        wave = flite.say(text, VOICES[names[voice]])
        if not RATE // 10 < len(wave) < (MAX_FRAMES - 4) * FRAME * RATE // 24000:
            continue
        item, ids = len(waves), tk.encode(text)
        waves.append(np.clip(wave * 32767, -32767, 32767).astype(np.int16))
        voices.append(voice)
        tokens.append(ids)
        clips.append(listen(r, lex, tk, item, len(wave), text, ids, answer, samples))
    r.shuffle(samples)
    name = f"{seed:06d}.npz"
    save(f"{out}/audio/{name}", cut=np.array(clips, np.int32), **rows.pack(samples, "audio"))
    save(f"{out}/speech/{name}", pcm=np.concatenate(waves),
         samples=np.array([len(w) for w in waves], np.int32),
         voice=np.array(voices, np.uint8), tokens=np.concatenate(tokens).astype(np.int16),
         counts=np.array([len(t) for t in tokens], np.int32))
    return n


def listen(r, lex, tk, item, length, text, ids, answer, samples):
    """Adds the samples that hear an utterance -> (silence in front, clip length), 0 if unused

    Digits stay out: nobody can hear whether a number was written in words."""
    front, back = r.randint(0, 4000), r.randint(0, 4000)
    n = (front + length + back) // HOP * HOP
    if any(c.isdigit() for c in text) or n > rows.MAX_CLIP_SECONDS * RATE or \
            len(ids) > rows.MAX_CTC:
        return 0, 0
    pairs = [("transcription", r.choice(TRANSCRIBE), text)]
    if answer is not None:
        pairs.append(("spoken question", r.choice(ANSWER), answer))
        if r.random() < .5:
            pairs.pop(0)
    for tag, ask, reply in pairs:
        samples.append(rows.Sample(tk, tag, [(ask, reply)], dialogue.pick_system(r, lex), "audio",
                                   item, int(audio_tokens(n // HOP)), r.random() < .7))
    return front, n


def text_shard(out, seed, n):
    r, lex, tk = random.Random(seed), _state["lex"], _state["tk"]
    samples = []
    for _ in range(n):
        tag, turns = dialogue.conversation(r, lex)
        samples.append(rows.Sample(tk, tag, turns, dialogue.pick_system(r, lex)))
    save(f"{out}/text/{seed:06d}.npz", **rows.pack(samples, "text"))
    return n


def picture_shard(out, seed, n, asks=4):
    r, lex, tk = random.Random(seed), _state["lex"], _state["tk"]
    samples, images = [], []
    for item in range(n):
        objects, ground = pictures.scene(r)
        images.append(pictures.pixels(pictures.draw(r, objects, ground)))
        for _ in range(asks):
            tag, turns = pictures.turns(r, objects)
            turns = [(skills.vary(r, turns[0][0]), turns[0][1]), *turns[1:]]
            samples.append(rows.Sample(tk, tag, turns, dialogue.pick_system(r, lex), "picture",
                                       item, IMAGE_TOKENS, r.random() < .7))
    r.shuffle(samples)
    save(f"{out}/picture/{seed:06d}.npz", images=np.stack(images), **rows.pack(samples, "picture"))
    return n


JOBS = {"speech": speech_shard, "text": text_shard, "picture": picture_shard}


def run_job(job):
    kind, out, seed, n = job
    path = f"{out}/{kind}/{seed:06d}.npz"
    return kind, 0 if os.path.exists(path) else JOBS[kind](out, seed, n)


def job_list(a):
    """The first speech shards come first, for the codec; then text and pictures; then the rest
    of the speech."""
    def jobs(kind, total, per, base):
        return [(kind, a.out, a.seed * 100000 + base + i, per) for i in range(total // per)]

    speech = jobs("speech", a.speech, 200, 0)
    text = jobs("text", a.text, 4000, 30000)
    picture = jobs("picture", a.pictures, 250, 60000)
    first = a.first_speech // 200
    mixed = [j for pair in zip(text, picture) for j in pair]
    mixed += text[len(picture):] + picture[len(text):]
    return speech[:first] + mixed + speech[first:]


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--lexicon", default="/usr/share/dict/scowl")
    ap.add_argument("--flite", help="folder of flite's shared libraries (default: the system's)")
    ap.add_argument("--out", required=True)
    ap.add_argument("--speech", type=int, default=120000, help="utterances")
    ap.add_argument("--first-speech", type=int, default=12000)
    ap.add_argument("--text", type=int, default=1000000, help="conversations")
    ap.add_argument("--pictures", type=int, default=60000)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--procs", type=int, default=os.cpu_count())
    a = ap.parse_args()
    for kind in (*JOBS, "audio"):
        os.makedirs(f"{a.out}/{kind}", exist_ok=True)
    begin, shown, made = time.time(), time.time(), dict.fromkeys(JOBS, 0)
    jobs = job_list(a)
    with mp.Pool(a.procs, start_worker, (a.lexicon, a.tokenizer, a.flite)) as pool:
        for i, (kind, n) in enumerate(pool.imap_unordered(run_job, jobs)):
            made[kind] += n
            if time.time() - shown > 10 or i + 1 == len(jobs):
                shown = time.time()
                print("%.0f s: %d of %d shards," % (shown - begin, i + 1, len(jobs)), made,
                      flush=True)
    with open(f"{a.out}/complete", "w", encoding="ascii") as f:
        f.write("%.1f seconds\n" % (time.time() - begin))


if __name__ == "__main__":
    main()
