"""Train the codec in two phases.

  codes  encoder, quantiser and code2wav together on spectral losses: fixes the codes
  wave   code2wav alone on the fixed codes, with discriminators: makes it sound clean
"""
import argparse
import copy
import os
import time

import numpy as np
import torch
import torch.nn as nn

from nano import checkpoint, codec, config, embedding, runtime, speech_store
from nano.adversary import Adversary, deceive_loss, feature_loss, judge_loss
from nano.code2wav import Code2Wav, Snake, snake
from nano.codec import DIM, Encoder, Quantiser, fold
from nano.config import FRAME, GROUPS, WIDTH
from nano.runtime import log
from nano.spectral import spectral_loss
from nano.talker import Talker
from nano.talker_rows import Layout, Utterances, predicted
from nano.tokenizer import Tokenizer

VALID_WINDOWS = 40


class Windows:
    """Random windows of a joined wave; its end is held out for validation."""

    def __init__(self, wave, frames, lost):
        self.wave, self.n, self.device = wave, frames, wave.device
        self.total = len(wave) // FRAME - VALID_WINDOWS * frames
        self.samples = frames * FRAME - lost
        self.frame_at = torch.arange(frames, device=self.device)
        self.sample_at = torch.arange(frames * FRAME, device=self.device)

    def take(self, start):
        return self.wave[(start * FRAME)[:, None] + self.sample_at].float() / 32767

    def draw(self, batch):
        """-> first frames [batch], waves [batch, frames*1920]"""
        start = torch.randint(0, self.total - self.n, (batch,), device=self.device)
        return start, self.take(start)

    def valid(self):
        start = self.total + torch.arange(VALID_WINDOWS, device=self.device) * self.n
        return start, self.take(start)

    def compare(self, made, wave):
        """The first frame of a window is context only; the end is cut as code2wav cuts it."""
        return made[:, FRAME:], wave[:, FRAME:self.samples]


def train_codes(a, device, net):
    wave, _ = speech_store.load_waves(speech_store.wait_for_shards(a.data, a.shards)[:a.shards],
                                      device)
    log("codes: %.2f hours of speech" % (len(wave) / 24000 / 3600))
    fixed = a.codec is not None
    encoder, quantiser = codec.load(runtime.load(a.codec, device), device) if fixed else \
        (Encoder().to(device), Quantiser().to(device))
    if a.resume:
        net.load_state_dict(checkpoint.parts(a.resume)["code2wav"])
    projection = nn.Linear(DIM, WIDTH).to(device)
    windows = Windows(wave, a.frames, net.lost)
    learning = [net, projection] if fixed else [net, encoder, projection]
    optimizer = runtime.adamw(learning, a.lr, 0.01, (0.8, 0.99))
    clock = runtime.Clock(a)
    step, shown, figures = 0, time.time(), []

    def run(x):
        with torch.set_grad_enabled(not fixed):
            z = encoder(x)
            quantise = quantiser.frozen if fixed else quantiser
            flat, commit, _, left = quantise(z.reshape(-1, DIM))
        made = net.decode(projection(flat.view_as(z)))
        return made, commit, left

    while not clock.done():
        warm = min(1.0, (step + 1) / 100)
        runtime.set_lr(optimizer, runtime.cosine(clock.fraction(), a.lr, 0.2) * warm)
        _, x = windows.draw(a.batch)
        made, commit, left = run(x)
        rec = spectral_loss(*windows.compare(made, x))
        optimizer.zero_grad(set_to_none=True)
        (rec + 0.5 * commit).backward()
        nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
        optimizer.step()
        step += 1
        if step % 20 == 0:
            figures.append(torch.stack([rec.detach(), commit.detach(), left]))
        if time.time() - shown > a.log_every and figures:
            shown = time.time()
            log("t %.0f step %d loss %.3f commitment %.4f variance left %.3f" %
                (clock.elapsed(), step, *torch.stack(figures).mean(0).tolist()))
            figures = []
    # Rounded before the codes are fixed, so that the small stored form gives the same codes.
    for t in (*encoder.state_dict().values(), quantiser.books):
        t.copy_(t.bfloat16().float())
    net.code_embedding.weight.data.copy_(fold(quantiser.books, projection))
    runtime.save(a.out, encoder=encoder.state_dict(), quantiser=quantiser.state_dict(),
                 code2wav=net.state_dict(), raw=net.state_dict(), steps=step)
    log("codes fixed after %d steps, %.0f s" % (step, clock.elapsed()))


def crop(made, target, n):
    """The same random crop of n samples from both."""
    start = torch.randint(0, made.shape[1] - n, (len(made), 1), device=made.device)
    at = start + torch.arange(n, device=made.device)
    return made.gather(1, at), target.gather(1, at)


class Spoken:
    """The codes of the windows: the encoder's, and later, for half of the windows, what the talker
    predicts in their place, since that is what code2wav will hear.

    The talker must not have learnt these utterances (its --held-out)."""

    def __init__(self, a, paths, codes, device):
        self.path, self.begin, self.every = a.talker, a.talker_from, a.talker_every
        self.codes, self.guess, self.device = codes, None, device
        self.read, self.checked = 0.0, 0.0
        tokenizer = Tokenizer.load(a.tokenizer)
        self.table = embedding.table(tokenizer).to(device)
        self.net = Talker(config.make(tokenizer)["talker_config"]).to(device).eval()
        layout = Layout(tokenizer, [np.zeros(0, np.int64)])
        us = Utterances(*speech_store.describe(paths))
        self.rows = torch.from_numpy(layout.rows(us, 1)).to(device)

    def update(self, fraction):
        """Asks the talker's newest checkpoint now and then."""
        now = time.time()
        if not self.path or fraction < self.begin or now - self.checked < self.every:
            return
        self.checked = now
        if not os.path.exists(self.path) or os.path.getmtime(self.path) == self.read:
            return
        self.read = os.path.getmtime(self.path)
        self.net.load_state_dict(checkpoint.parts(self.path)["talker"])
        self.guess = predicted(self.net, self.table, self.codes, self.rows)
        same = (self.guess == self.codes).float().mean(0).tolist()
        log("predicted codes: right by group", " ".join("%.3f" % x for x in same),
            "%.0f s" % (time.time() - now))

    def at(self, index, share=0.5):
        """frames [B, T] -> codes [B, GROUPS, T]"""
        codes = self.codes[index]
        if self.guess is not None and share:
            mine = torch.rand(len(index), 1, 1, device=index.device) < share
            codes = torch.where(mine, self.guess[index], codes)
        return codes.long().transpose(1, 2)


def train_wave(a, device, net):
    paths = speech_store.wait_for_shards(a.data, a.shards)[:a.shards]
    resumed = os.path.exists(a.out) and not a.fresh
    first = runtime.load(a.codec, device)
    wave, _ = speech_store.load_waves(paths, device)
    codes = speech_store.encode_all(paths, first, device)
    assert len(codes) * FRAME == len(wave)
    windows = Windows(wave, a.frames, net.lost)
    spoken = Spoken(a, paths, codes, device)
    judge = Adversary().to(device)
    state = runtime.load(a.out, device) if resumed else first
    if a.resume:
        state = checkpoint.parts(a.resume)
    net.load_state_dict(state.get("raw", state["code2wav"]))
    average = copy.deepcopy(net).eval().requires_grad_(False)
    average.load_state_dict(state["code2wav"])
    if "judge" in state:
        judge.load_state_dict(state["judge"])
    log("wave: %.2f hours, %s" % (len(wave) / 24000 / 3600, "resumed" if resumed else "fresh"))
    for_net = runtime.adamw([net], a.lr, 0.01, (0.8, 0.99))
    for_judge = runtime.adamw([judge], a.lr, 0.01, (0.8, 0.99))
    clock = runtime.Clock(a)
    step, shown, figures = 0, time.time(), []

    def validate():
        start, x = windows.valid()
        index, out = start[:, None] + windows.frame_at, []
        with torch.no_grad():
            for share in (0.0, 1.0):
                made = torch.cat([average.decode(average.embed(c))
                                  for c in spoken.at(index, share).split(8)])
                out.append(spectral_loss(*windows.compare(made, x)).item())
        return "validation %.4f, of predicted codes %.4f" % tuple(out)

    def keep():
        runtime.save(a.out, code2wav=average.state_dict(), raw=net.state_dict(),
                     judge=judge.state_dict(), steps=step)

    while not clock.done():
        lr = runtime.cosine(clock.fraction(), a.lr, 0.05) * min(1.0, (step + 1) / 50)
        runtime.set_lr(for_net, lr)
        runtime.set_lr(for_judge, lr)
        spoken.update(clock.fraction())
        start, x = windows.draw(a.batch)
        heard = spoken.at(start[:, None] + windows.frame_at)
        made, x = windows.compare(net.decode(net.embed(heard)), x)
        rec = spectral_loss(made, x)
        made_crop, real_crop = crop(made, x, a.crop)
        with runtime.autocast(device):
            judged = judge_loss(judge(made_crop.detach()), judge(real_crop))
        for_judge.zero_grad(set_to_none=True)
        judged.backward()
        for_judge.step()
        judge.requires_grad_(False)
        with runtime.autocast(device):
            seen = judge(made_crop)
            with torch.no_grad():
                real = judge(real_crop)
            deceive, features = deceive_loss(seen), feature_loss(seen, real)
        judge.requires_grad_(True)
        for_net.zero_grad(set_to_none=True)
        (8.0 * rec + deceive + 2.0 * features).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 10.0)
        for_net.step()
        step += 1
        with torch.no_grad():
            follow = 0.999 if resumed else min(0.999, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - follow)
        if step % 20 == 0:
            figures.append(torch.stack([rec.detach(), judged.detach(), deceive.detach(),
                                        features.detach()]).float())
        if time.time() - shown > a.log_every and figures:
            shown = time.time()
            log("t %.0f step %d spectral %.3f judge %.3f deceive %.3f features %.3f" %
                (clock.elapsed(), step, *torch.stack(figures).mean(0).tolist()),
                validate())
            figures = []
            if clock.time_to_save():
                keep()
    keep()
    log("wave: %d steps, %.0f s, %s" % (step, clock.elapsed(), validate()))


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("phase", choices=("codes", "wave"))
    ap.add_argument("--data", required=True)
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--out", required=True, help="checkpoint to write")
    ap.add_argument("--codec", help="checkpoint of the phase 'codes' (for 'wave'); for "
                                    "'codes': keep its codes, train code2wav alone")
    ap.add_argument("--fresh", action="store_true", help="do not resume from --out")
    ap.add_argument("--resume", help="checkpoint or exported model to start code2wav from")
    ap.add_argument("--talker", help="its checkpoint, which may appear while 'wave' runs: code2wav "
                                     "then learns from predicted codes, too")
    ap.add_argument("--talker-from", type=float, default=0.5,
                    help="where in the schedule its predictions begin")
    ap.add_argument("--talker-every", type=float, default=100, help="seconds between two looks")
    runtime.add_schedule(ap, 240)
    ap.add_argument("--shards", type=int, default=40, help="speech shards to train on")
    ap.add_argument("--batch", type=int, default=24)
    ap.add_argument("--frames", type=int, default=24)
    ap.add_argument("--crop", type=int, default=16384)
    ap.add_argument("--lr", type=float)
    ap.add_argument("--log-every", type=float, default=20)
    ap.add_argument("--compile", type=int, default=1)
    ap.add_argument("--seed", type=int, default=3)
    a = ap.parse_args()
    a.lr = a.lr or {"codes": 1e-3, "wave": 4e-4}[a.phase]
    device = runtime.setup(a.seed)
    if a.compile and device.type == "cuda":
        Snake.function = staticmethod(torch.compile(snake, dynamic=True))
    net = Code2Wav(config.make(Tokenizer.load(a.tokenizer))["code2wav_config"]).to(device)
    assert net.groups == GROUPS
    (train_codes if a.phase == "codes" else train_wave)(a, device, net)


if __name__ == "__main__":
    main()
