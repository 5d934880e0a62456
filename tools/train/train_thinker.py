"""Train the thinker with its audio and vision towers on generated conversations."""
import argparse
import contextlib
import os
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from nano import checkpoint, config, embedding, runtime
from nano.config import ID, VOCAB, WIDTH
from nano.features import to_patches
from nano.layers import segment_mask
from nano.rows import TAGS
from nano.runtime import log
from nano.thinker import Thinker
from nano.thinker_store import Batches, Store
from nano.tokenizer import Tokenizer

CTC_SHARE, BALANCE_SHARE = 0.3, 0.01
CTC_STEPS = 500              # a new CTC head on a trained tower gets its say slowly


def disturb(mel, frames):
    """Training noise on features: loudness, and for half of the clips one masked band of
    frequencies and one of time."""
    b, bins, t = mel.shape
    dev = mel.device
    valid = torch.arange(t, device=dev)[None] < frames[:, None]
    # the features are log10(power)/4: a factor g on the wave adds log10(g)/2
    mel = mel + (valid * (torch.rand(b, 1, device=dev) * .7 - .6))[:, None].to(mel.dtype)
    on = torch.rand(b, 1, device=dev) < .5

    def band(n, width):
        at, start = torch.arange(n, device=dev)[None], torch.randint(0, n, (b, 1), device=dev)
        return (at >= start) & (at < start + torch.randint(0, width, (b, 1), device=dev)) & on

    hide = band(bins, 24)[:, :, None] | band(t, 10)[:, None]
    return mel.masked_fill(hide, 0.0)


class Model(nn.Module):
    """Thinker and the CTC head that only the training uses."""

    def __init__(self, c):
        super().__init__()
        self.net = Thinker(c["thinker_config"])
        self.ctc = nn.Linear(WIDTH, VOCAB)

    def forward(self, batch, clips, pictures, table):
        """-> loss parts [cross entropy, CTC], logits [B, ROW-1, VOCAB], targets"""
        net, dev = self.net, table.device
        dtype = torch.bfloat16 if dev.type == "cuda" else torch.float32
        x = table[batch["ids"].long()]
        n_text = len(x) - len(batch["audio places"]) - len(batch["picture places"])
        n_audio = len(batch["audio places"])
        heard, frames = clips.mel[batch["audio items"]], clips.frames[batch["audio items"]]
        if self.training:
            heard = disturb(heard, frames)
        y, valid = net.audio_tower(heard.to(dtype), frames)
        seen, deep = net.visual(to_patches(pictures[batch["picture items"]]).to(dtype))

        def place(features, places, around):
            """features [rows*slots, n, width] -> [rows, ROW, width], `around` where no media"""
            rows = features.reshape(len(places), -1, WIDTH)
            at = places.long().clamp(min=0)[..., None].expand(-1, -1, WIDTH)
            return torch.where((places >= 0)[..., None], rows.gather(1, at).to(around.dtype),
                               around)

        text, audio, picture = x[:n_text], x[n_text:n_text + n_audio], x[n_text + n_audio:]
        x = torch.cat([text, place(y, batch["audio places"], audio),
                       place(seen, batch["picture places"], picture)])
        nothing = torch.zeros_like(picture)
        deep = [F.pad(place(d, batch["picture places"], nothing),
                      (0, 0, 0, 0, n_text + n_audio, 0)) for d in deep]
        cos, sin = net.rope(batch["positions"].permute(1, 0, 2))
        hidden = net.backbone(x, cos, sin, segment_mask(batch["segments"], dtype), deep)
        logits = net.lm_head(hidden[:, :-1]).float()
        target = batch["labels"][:, 1:].long()
        ce = F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=-100)
        return torch.stack([ce, self.ctc_loss(y, batch, clips)]), logits, target

    def ctc_loss(self, y, batch, clips):
        """Makes the audio tower spell what it hears long before the decoder listens to it."""
        logp = self.ctc(y).float().log_softmax(-1).transpose(0, 1)
        loss = F.ctc_loss(logp, clips.text[batch["audio items"]], batch["ctc in"],
                          batch["ctc out"], blank=ID["audio_pad"], reduction="none",
                          zero_infinity=True)
        length = batch["ctc out"].to(loss.device).clamp(min=1)
        return (loss / length * batch["ctc used"]).sum() / batch["ctc used"].sum()


@contextlib.contextmanager
def uncompiled():
    """Validation runs plain: compiling its variants would cost more than it saves."""
    compiler = getattr(torch, "compiler", None)
    with compiler.set_stance("force_eager") if compiler else contextlib.nullcontext():
        yield


def validate(model, store, batches, table, device):
    """-> {tag: (exact answers, answers)} by teacher forcing, which agrees with greedy decoding up
    to the first error"""
    hits = {}
    rows = store.valid
    counts = batches.counts
    rounds = min(len(rows[k].get()[0]["ids"]) // counts[k] for k in counts)
    model.eval()
    with torch.no_grad(), runtime.autocast(device), uncompiled():
        for i in range(max(1, min(rounds, 6))):
            index = {k: (np.arange(n) + i * n) % len(rows[k].get()[0]["ids"])
                     for k, n in counts.items()}
            batch = Batches(rows, store.clips, counts, 0).take(index)
            _, logits, target = model(batch, store.clips, store.pictures, table)
            right = ((logits.argmax(-1) == target) | (target < 0)).cpu().numpy()
            target, tags = target.cpu().numpy(), batch["tags"][:, 1:].cpu().numpy()
            segments = batch["segments"][:, 1:].cpu().numpy()
            for r in range(len(target)):
                for s in set(segments[r]) - {255}:
                    on = segments[r] == s
                    if (target[r][on] >= 0).any():
                        hit = hits.setdefault(TAGS[tags[r][on][0]], [0, 0])
                        hit[0] += int(right[r][on].all())
                        hit[1] += 1
    model.train()
    return hits


def show(hits):
    return ", ".join("%s %.3f" % (k, hits[k][0] / hits[k][1]) for k in TAGS if k in hits)


def fill_first(store, counts):
    """Waits until every kind has rows to train and to validate on."""
    while not all(store.train[k].count >= counts[k] and store.valid[k].count for k in counts):
        if not store.poll():
            if os.path.exists(f"{store.data}/complete"):
                raise SystemExit("the data holds too few rows")
            time.sleep(1)
    log("first data:", {k: r.count for k, r in store.train.items()})


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--data", required=True)
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--resume", help="checkpoint or exported model to start from")
    runtime.add_schedule(ap, 1000)
    ap.add_argument("--lr", type=float, default=1.5e-3)
    ap.add_argument("--warmup", type=int, default=300)
    ap.add_argument("--rows", type=int, nargs=3, default=(20, 40, 24),
                    help="text, audio and picture rows of a batch")
    ap.add_argument("--clips", type=int, default=125000)
    ap.add_argument("--pictures", type=int, default=60500)
    ap.add_argument("--log-every", type=float, default=30)
    ap.add_argument("--compile", type=int, default=1)
    ap.add_argument("--seed", type=int, default=4)
    a = ap.parse_args()
    device = runtime.setup(a.seed)
    tokenizer = Tokenizer.load(a.tokenizer)
    table = embedding.table(tokenizer).to(device)
    model = Model(config.make(tokenizer)).to(device)
    model.net.model.embed_tokens.weight.data.copy_(table)
    model.net.model.embed_tokens.requires_grad_(False)
    ctc_steps = 1
    if a.resume:
        state = checkpoint.parts(a.resume)
        model.net.load_state_dict(state["thinker"])
        if "ctc" in state:               # an exported model has no CTC head: it is learnt again
            model.ctc.load_state_dict(state["ctc"])
        else:
            ctc_steps = CTC_STEPS
    counts = dict(zip(("text", "audio", "picture"), a.rows))
    store = Store(a.data, device, a.clips, a.pictures)
    fill_first(store, counts)
    runtime.compile_blocks([*model.net.model.layers, *model.net.audio_tower.layers,
                            *model.net.visual.blocks], a.compile and device.type == "cuda")
    optimizer = runtime.adamw([model], a.lr)
    batches = Batches(store.train, store.clips, counts, a.seed)
    clock = runtime.Clock(a)
    step, shown, polled, figures = 0, time.time(), time.time(), []
    params = [p for p in model.parameters() if p.requires_grad]

    def keep():
        runtime.save(a.out, thinker=model.net.state_dict(), ctc=model.ctc.state_dict(),
                     steps=step)

    while not clock.done():
        batch = batches.draw()
        lr = runtime.cosine(clock.fraction(), a.lr) * min(1.0, (step + 1) / a.warmup)
        runtime.set_lr(optimizer, lr)
        with runtime.autocast(device):
            parts, _, _ = model(batch, store.clips, store.pictures, table)
            share = CTC_SHARE * min(1.0, (step + 1) / ctc_steps)
            loss = parts[0] + share * parts[1] + BALANCE_SHARE * model.net.balance()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        step += 1
        if step % 20 == 0:
            figures.append(parts.detach().float())
        if time.time() - polled > 5:
            store.poll()
            polled = time.time()
        if time.time() - shown > a.log_every and figures:
            shown = time.time()
            log("t %.0f step %d loss %.4f ctc %.3f clips %d |" %
                (clock.elapsed(), step, *torch.stack(figures).mean(0).tolist(),
                 store.clips.count), show(validate(model, store, batches, table, device)))
            figures = []
            if clock.time_to_save():
                keep()
    keep()
    log("thinker: %d steps, %.0f s |" % (step, clock.elapsed()),
        show(validate(model, store, batches, table, device)))


if __name__ == "__main__":
    main()
