"""Train the talker and its code predictor on the codec's codes of the teacher's speech."""
import argparse
import multiprocessing as mp
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from nano import checkpoint, codec, config, embedding, runtime, speech_store
from nano.config import CODEBOOK
from nano.layers import rope, segment_mask
from nano.runtime import log
from nano.talker import Talker
from nano.talker_rows import Layout, Utterances, user_parts
from nano.tokenizer import Tokenizer
from nano.words import Lexicon

VALID = 400                  # utterances kept for validation
_pool = {}


def load_utterances(a, device):
    """-> Utterances of all speech shards, codes [sum of frames, GROUPS] on the device"""
    encoder, quantiser = codec.load(runtime.load(a.codec, device), device)
    parts, codes = [], []
    for path in speech_store.wait_for_shards(a.data, a.shards):
        shard = speech_store.Shard(path)
        codes.append(speech_store.encode_shard(shard, encoder, quantiser, device))
        parts.append((shard.frames, shard.voice, shard.counts, shard.tokens))
    codes = torch.cat(codes)
    about = (np.concatenate(p) for p in zip(*parts))
    return Utterances(*about, codes[:, 0].cpu().numpy()), codes


def pack_job(job):
    return _pool["layout"].rows(*job)


def pack_rows(pool, utterances, first, epochs, size=2000):
    """Packs every utterance from number `first` on once per epoch, with other neighbours and
    prompts."""
    n = len(utterances.frames)
    jobs = [(utterances.part(i, min(n, i + size)), 100000 * epoch + i)
            for epoch in range(epochs) for i in range(first, n, size)]
    return np.concatenate(pool.map(pack_job, jobs, chunksize=1))


def corrupt(codes, share):
    """Training noise on what the talker hears of itself: some frames lose half of their codes."""
    hit = torch.rand(codes.shape[:2], device=codes.device)[..., None] < share
    level = torch.rand(codes.shape, device=codes.device) < .5
    return torch.where(hit & level, torch.randint_like(codes, CODEBOOK), codes)


def losses(net, table, codes, rows, noise, n_predict):
    """rows [B, 5, ROW] -> losses of the first group and of the others, accuracies of both"""
    text, codec, frame, target, segment = (rows[:, i].long() for i in range(5))
    projected = net.text_projection(table)
    projected = torch.cat([projected, torch.zeros_like(projected[:1])])   # the row of id -1
    x = projected[torch.where(text < 0, len(table), text)]
    special = net.model.codec_embedding(codec.clamp(min=0))
    x = x + torch.where((codec >= 0)[..., None], special, 0).to(x.dtype)
    heard = corrupt(codes[frame.clamp(min=0)].long(), noise)
    x = x + torch.where((frame >= 0)[..., None], net.embed_codes(heard), 0).to(x.dtype)
    cos, sin = rope(torch.arange(x.shape[1], device=x.device)[None], net.head_dim, net.theta)
    hidden = net.backbone(x, cos, sin, segment_mask(segment, x.dtype))
    logits = net.codec_head(hidden).float().flatten(0, 1)
    target = target.flatten()
    first = F.cross_entropy(logits, target, ignore_index=-100)
    # the code predictor learns on a random part of the frames; the frame that a position
    # predicts is the one that the next position hears
    ahead = F.pad(frame[:, 1:], (0, 1), value=-1).flatten()
    pick = (torch.rand(ahead.shape, device=x.device) + (ahead >= 0)).topk(n_predict).indices
    real = ahead[pick] >= 0
    mine = codes[ahead[pick].clamp(min=0)].long()
    others = net.predictor(hidden.flatten(0, 1)[pick], mine)
    wanted = torch.where(real[:, None], mine[:, 1:], -100)
    rest = F.cross_entropy(others.float().flatten(0, 1), wanted.flatten(), ignore_index=-100)
    with torch.no_grad():
        right = (logits.argmax(-1) == target).sum() / (target >= 0).sum()
        right_rest = (others.argmax(-1) == wanted).sum() / (wanted >= 0).sum()
    return torch.stack([first, rest, right, right_rest])


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--data", required=True)
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--lexicon", default="/usr/share/dict/scowl")
    ap.add_argument("--codec", required=True, help="codec.pt or checkpoint of the codes")
    ap.add_argument("--out", required=True)
    ap.add_argument("--resume", help="checkpoint or exported model to start from")
    runtime.add_schedule(ap, 750)
    ap.add_argument("--shards", type=int, default=600, help="speech shards to wait for")
    ap.add_argument("--lr", type=float, default=1.5e-3)
    ap.add_argument("--warmup", type=int, default=200)
    ap.add_argument("--rows", type=int, default=64)
    ap.add_argument("--predict", type=int, default=8192, help="frames of a predictor batch")
    ap.add_argument("--noise", type=float, default=0.08)
    ap.add_argument("--epochs", type=int, default=3, help="different packings of the data")
    ap.add_argument("--prompts", type=int, default=6000, help="different user turns")
    ap.add_argument("--procs", type=int, default=8)
    ap.add_argument("--log-every", type=float, default=20)
    ap.add_argument("--compile", type=int, default=1)
    ap.add_argument("--graph", type=int, default=1)
    ap.add_argument("--seed", type=int, default=6)
    a = ap.parse_args()
    begin = time.time()
    tokenizer = Tokenizer.load(a.tokenizer)
    layout = Layout(tokenizer, user_parts(tokenizer, Lexicon(a.lexicon), a.prompts))
    _pool["layout"] = layout
    pool = mp.get_context("fork").Pool(a.procs)      # forked before the GPU is touched
    device = runtime.setup(a.seed)
    cuda = device.type == "cuda"
    utterances, codes = load_utterances(a, device)
    n = len(utterances.frames)
    n_valid = min(VALID, n // 2)
    log("%.0f s: %d utterances, %.2f hours encoded" % (time.time() - begin, n,
                                                       len(codes) * .08 / 3600))
    rows = torch.from_numpy(pack_rows(pool, utterances, n_valid, a.epochs)).to(device)
    valid = torch.from_numpy(layout.rows(utterances.part(0, n_valid), 1)).to(device)
    pool.terminate()
    log("%.0f s: %d rows" % (time.time() - begin, len(rows)))
    table = embedding.table(tokenizer).to(device)
    net = Talker(config.make(tokenizer)["talker_config"]).to(device)
    if a.resume:
        net.load_state_dict(checkpoint.parts(a.resume)["talker"])
    runtime.compile_blocks([*net.model.layers, *net.code_predictor.model.layers],
                           a.compile and cuda)
    optimizer = runtime.adamw([net], a.lr, capturable=cuda)
    params = [p for p in net.parameters() if p.requires_grad]
    noise = a.noise

    def train_step(batch):
        # a captured graph must not keep autocast's weight casts from its warm-up
        with torch.autocast(device.type, torch.bfloat16, enabled=cuda, cache_enabled=not cuda):
            parts = losses(net, table, codes, batch, noise, a.predict)
            loss = parts[0] + 2.0 * parts[1] + 0.01 * net.balance()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        return parts.detach()

    def validate():
        net.eval()
        with torch.no_grad(), runtime.autocast(device):
            out = torch.stack([losses(net, table, codes, b, 0.0, a.predict)
                               for b in valid.split(a.rows) if len(b) == min(a.rows, len(valid))])
        net.train()
        return "first %.4f rest %.4f accuracy %.4f %.4f" % tuple(out.mean(0).tolist())

    def keep():
        runtime.save(a.out, talker=net.state_dict(), steps=step)

    runtime.set_lr(optimizer, 1e-6)
    do = runtime.GraphedStep(train_step, [rows[:a.rows]]) if a.graph and cuda else train_step
    clock = runtime.Clock(a)
    log("%.0f s: training" % (time.time() - begin))
    step, shown, figures, order = 0, time.time(), [], torch.zeros(0, dtype=torch.long)
    while not clock.done():
        if len(order) < a.rows:
            order = torch.randperm(len(rows))
        index, order = order[:a.rows].to(device, non_blocking=True), order[a.rows:]
        runtime.set_lr(optimizer, runtime.cosine(clock.fraction(), a.lr)
                       * min(1.0, (step + 1) / a.warmup))
        parts = do(rows[index])
        step += 1
        if step % 10 == 0:
            figures.append(parts.clone())
        if step % 50 == 0 and cuda:
            torch.cuda.synchronize()             # the clock should see the steps that were done
        if time.time() - shown > a.log_every and figures:
            shown = time.time()
            log("t %.0f step %d first %.4f rest %.4f accuracy %.4f %.4f" %
                (clock.elapsed(), step, *torch.stack(figures).mean(0).tolist()))
            figures = []
            if clock.time_to_save():
                keep()
    keep()
    log("talker: %d steps, %.0f s, validation %s" % (step, clock.elapsed(), validate()))


if __name__ == "__main__":
    main()
