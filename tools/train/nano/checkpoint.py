"""The exported model: reading it into the training modules, without other packages."""
import glob
import json
import os
import re

import torch

from .code2wav import Code2Wav
from .config import make
from .talker import Talker
from .thinker import Thinker
from .tokenizer import Tokenizer

_DTYPES = {"BF16": torch.bfloat16, "F32": torch.float32, "I64": torch.int64}


def read_safetensors(path):
    """-> {name: tensor}"""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    size = int.from_bytes(data[:8], "little")
    out = {}
    for name, info in json.loads(data[8:8 + size]).items():
        if name != "__metadata__":
            a, b = info["data_offsets"]
            count = (b - a) // torch.empty(0, dtype=_DTYPES[info["dtype"]]).element_size()
            out[name] = torch.frombuffer(data, dtype=_DTYPES[info["dtype"]], count=count,
                                         offset=8 + size + a).reshape(info["shape"])
    return out


def write_safetensors(path, tensors):
    """{name: tensor of float32, bfloat16 or int64}"""
    names = {torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64"}
    header, blobs, at = {"__metadata__": {"format": "pt"}}, [], 0
    for name, t in tensors.items():
        blobs.append(t.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        header[name] = dict(dtype=names[t.dtype], shape=list(t.shape),
                            data_offsets=[at, at + len(blobs[-1])])
        at += len(blobs[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def join_experts(tensors):
    """Published experts are separate tensors; the modules hold them stacked."""
    out, groups = {}, {}
    for name, t in tensors.items():
        m = re.fullmatch(r"(.*\.experts)\.(\d+)\.(gate|up|down)_proj\.weight", name)
        if m:
            groups.setdefault(m[1], {})[(int(m[2]), m[3])] = t
        else:
            out[name] = t
    for prefix, parts in groups.items():
        n = 1 + max(i for i, _ in parts)
        out[prefix + ".gate_up_proj"] = torch.stack(
            [torch.cat([parts[i, "gate"], parts[i, "up"]]) for i in range(n)])
        out[prefix + ".down_proj"] = torch.stack([parts[i, "down"] for i in range(n)])
    return out


def parts(path):
    """A training checkpoint as it is, or the parts of an exported folder as
    {"thinker": state, "talker": state, "code2wav": state} in float32"""
    if not os.path.isdir(path):
        return torch.load(path, map_location="cpu")
    tensors, out = {}, {"thinker": {}, "talker": {}, "code2wav": {}}
    for file in sorted(glob.glob(f"{path}/*.safetensors")):
        tensors.update(read_safetensors(file))
    for name, t in join_experts(tensors).items():
        part, rest = name.split(".", 1)
        out[part][rest] = t.float()
    return out


def load(folder, device):
    """-> tokenizer, thinker, talker, code2wav with float32 weights, for inference"""
    tokenizer = Tokenizer.load(folder)
    c = make(tokenizer)
    nets = {"thinker": Thinker(c["thinker_config"]), "talker": Talker(c["talker_config"]),
            "code2wav": Code2Wav(c["code2wav_config"])}
    state = parts(folder)
    for name, net in nets.items():
        net.load_state_dict(state[name])
        net.to(device).eval().requires_grad_(False)
    return tokenizer, nets["thinker"], nets["talker"], nets["code2wav"]
