"""What every training command shares: wall-clock schedules, optimiser groups, checkpoints."""
import math
import os
import time

import torch


def log(*parts):
    print(*parts, flush=True)


def setup(seed):
    """Seeds, fast matrix products; -> device"""
    torch.manual_seed(seed)
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    return torch.device("cuda")


def autocast(device):
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


def add_schedule(parser, seconds):
    """Arguments of a phase that runs by the clock."""
    parser.add_argument("--seconds", type=float, default=seconds)
    parser.add_argument("--until", type=float, help="end at this Unix time instead")
    parser.add_argument("--start", type=float, default=0.0,
                        help="where in the learning-rate schedule to begin (0 to 1)")


class Clock:
    """The schedule of a phase in wall time. A file OUT.seconds replaces its length while it
    runs."""

    def __init__(self, args, save_every=120):
        self.begin = self.checked = self.saved = time.time()
        self.total = args.until - self.begin if args.until else args.seconds
        self.out, self.start, self.save_every = args.out, args.start, save_every

    def elapsed(self):
        now = time.time()
        if now - self.checked > 3:
            self.checked = now
            try:
                with open(self.out + ".seconds", encoding="ascii") as f:
                    self.total = float(f.read())
            except (OSError, ValueError):
                pass
        return now - self.begin

    def fraction(self):
        return min(1.0, self.start + (1 - self.start) * self.elapsed() / self.total)

    def done(self):
        return self.elapsed() >= self.total

    def time_to_save(self):
        due = time.time() - self.saved > self.save_every
        if due:
            self.saved = time.time()
        return due


def cosine(fraction, peak, floor=0.02):
    return peak * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(1.0, fraction))))


def adamw(modules, lr, weight_decay=0.05, betas=(0.9, 0.95), capturable=False):
    """Matrices decay, vectors and embeddings do not."""
    decay, keep = [], []
    for m in modules:
        for name, p in m.named_parameters():
            if p.requires_grad:
                (decay if p.dim() >= 2 and "embed" not in name else keep).append(p)
    fast = dict(fused=True, capturable=capturable) if decay[0].is_cuda else {}
    lr = torch.tensor(lr, device="cuda") if capturable else lr
    return torch.optim.AdamW(
        [dict(params=decay, weight_decay=weight_decay), dict(params=keep, weight_decay=0.0)],
        lr=lr, betas=betas, **fast)


def set_lr(optimizer, lr):
    for group in optimizer.param_groups:
        if torch.is_tensor(group["lr"]):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def save(path, **content):
    """Never leaves half a file behind."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    torch.save(content, path + ".tmp")
    os.replace(path + ".tmp", path)


def load(path, device):
    return torch.load(path, map_location=device)


def compile_blocks(blocks, on=True):
    """One compiled graph per kind of block and shape."""
    if on and hasattr(torch.nn.Module, "compile"):
        for b in blocks:
            b.compile(dynamic=False)


class GraphedStep:
    """Runs step(*inputs) -> tensor of figures as one CUDA graph after a few plain runs.

    step must do forward, backward and the optimiser's step with fixed shapes and no host reads."""

    def __init__(self, step, inputs, warmup=4):
        self.inputs = [x.clone() for x in inputs]
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(warmup):
                step(*self.inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.figures = step(*self.inputs)

    def __call__(self, *inputs):
        for mine, new in zip(self.inputs, inputs):
            mine.copy_(new, non_blocking=True)
        self.graph.replay()
        return self.figures
