"""Train the talker and its code predictor on the codec's codes of the teacher's speech."""
import argparse
import copy
import multiprocessing as mp
import os
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from nano import checkpoint, config, embedding, runtime, speech_store
from nano.config import CODEC, GROUPS
from nano.runtime import log
from nano.talker import Talker
from nano.talker_rows import END, NOTHING, Layout, Utterances, hidden_states, user_parts
from nano.tokenizer import Tokenizer
from nano.words import Lexicon

VALID = 400                  # utterances kept for validation
_pool = {}


def wait_for_file(path):
    """The phase that writes it may still run; files appear whole."""
    while not os.path.exists(path):
        time.sleep(1)
    return path


def pack_job(job):
    return _pool["layout"].rows(*job)


def pack_rows(pool, utterances, first, epochs, size=2000):
    """Packs every utterance from number `first` on once per epoch, with other neighbours and
    prompts."""
    n = len(utterances.frames)
    jobs = [(utterances.part(i, min(n, i + size)), 100000 * epoch + i)
            for epoch in range(epochs) for i in range(first, n, size)]
    return np.concatenate(pool.map(pack_job, jobs, chunksize=1))


def losses(net, table, codes, rows, noise, n_predict):
    """rows [B, 5, ROW] -> losses of the first group and of the others, accuracies of both"""
    hidden = hidden_states(net, table, codes, rows, noise)
    logits = net.codec_head(hidden).float().flatten(0, 1)
    said = rows[:, 3].flatten().long()
    target = torch.where(said == END, CODEC["eos"], NOTHING)
    target = torch.where(said >= 0, codes[said.clamp(min=0), 0].long(), target)
    first = F.cross_entropy(logits, target, ignore_index=NOTHING)
    # the code predictor learns on a random part of the frames
    pick = (torch.rand(said.shape, device=said.device) + (said >= 0)).topk(n_predict).indices
    real = said[pick] >= 0
    mine = codes[said[pick].clamp(min=0)].long()
    others = net.predictor(hidden.flatten(0, 1)[pick], mine)
    wanted = torch.where(real[:, None], mine[:, 1:], NOTHING)
    rest = F.cross_entropy(others.float().flatten(0, 1), wanted.flatten(), ignore_index=NOTHING)
    with torch.no_grad():
        right = (logits.argmax(-1) == target).sum() / (target >= 0).sum()
        right_rest = (others.argmax(-1) == wanted).sum() / (wanted >= 0).sum()
    return torch.stack([first, rest, right, right_rest])


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--data", required=True)
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--lexicon", default="/usr/share/dict/scowl")
    ap.add_argument("--codec", required=True,
                    help="codec.pt or checkpoint of the codes; may appear while this runs")
    ap.add_argument("--out", required=True)
    ap.add_argument("--resume", help="checkpoint or exported model to start from")
    runtime.add_schedule(ap, 750)
    ap.add_argument("--shards", type=int, default=600, help="speech shards to wait for")
    ap.add_argument("--held-out", type=int, default=2,
                    help="first shards that are not learnt: for validation, and for 'wave'")
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
    paths = speech_store.wait_for_shards(a.data, a.shards)
    utterances = Utterances(*speech_store.describe(paths))
    n = len(utterances.frames)
    kept = min(a.held_out * n // len(paths), n // 2)
    log("%.0f s: %d utterances, %.2f hours" % (time.time() - begin, n,
                                               utterances.frames.sum() * .08 / 3600))
    rows = torch.from_numpy(pack_rows(pool, utterances, kept, a.epochs)).to(device)
    valid = torch.from_numpy(layout.rows(utterances.part(0, min(VALID, kept)), 1)).to(device)
    pool.terminate()
    log("%.0f s: %d rows" % (time.time() - begin, len(rows)))
    table = embedding.table(tokenizer).to(device)
    net = Talker(config.make(tokenizer)["talker_config"]).to(device)
    if a.resume:
        net.load_state_dict(checkpoint.parts(a.resume)["talker"])
    average = copy.deepcopy(net).eval().requires_grad_(False)
    codes = torch.zeros(int(utterances.frames.sum()), GROUPS, dtype=torch.int16, device=device)
    runtime.compile_blocks([*net.model.layers, *net.code_predictor.model.layers],
                           a.compile and cuda)
    optimizer = runtime.adamw([net], a.lr, capturable=cuda)
    params = [p for p in net.parameters() if p.requires_grad]
    followers, leaders = list(average.parameters()), [p.detach() for p in net.parameters()]
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
        with torch.no_grad(), runtime.autocast(device):
            out = torch.stack([losses(average, table, codes, b, 0.0, a.predict)
                               for b in valid.split(a.rows)[:max(1, len(valid) // a.rows)]])
        return "validation %.4f %.4f accuracy %.4f %.4f" % tuple(out.mean(0).tolist())

    def keep():
        runtime.save(a.out, talker=average.state_dict(), steps=step)

    runtime.set_lr(optimizer, 1e-6)
    do = runtime.GraphedStep(train_step, [rows[:a.rows]]) if a.graph and cuda else train_step
    log("%.0f s: waiting for the codec" % (time.time() - begin))
    fixed = runtime.load(wait_for_file(a.codec), device)
    codes.copy_(speech_store.encode_all(paths, fixed, device))
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
        torch._foreach_lerp_(followers, leaders,
                             1 - min(0.999, (1 + step) / (10 + step)))
        if step % 10 == 0:
            figures.append(parts.clone())
        if step % 50 == 0 and cuda:
            torch.cuda.synchronize()             # the clock should see the steps that were done
        if time.time() - shown > a.log_every and figures:
            shown = time.time()
            log("t %.0f step %d first %.4f rest %.4f accuracy %.4f %.4f" %
                (clock.elapsed(), step, *torch.stack(figures).mean(0).tolist()), validate())
            figures = []
            if clock.time_to_save():
                keep()
    keep()
    log("talker: %d steps, %.0f s, %s" % (step, clock.elapsed(), validate()))


if __name__ == "__main__":
    main()
