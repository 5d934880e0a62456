"""Cut an exported model.safetensors into one shard per stage.

A stage that is trained again then replaces its own file only, and the others stay as they are.
"""
import json
import os
import struct

PARTS = ("thinker", "talker", "code2wav")


def _write(path, tensors):
    """tensors: name -> (dtype, shape, bytes), in the order of the file."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, data in tensors.values():
            f.write(data)
    return offset


def split_by_stage(folder):
    """model.safetensors of `folder` becomes model-0000N-of-00003.safetensors and an index."""
    single = os.path.join(folder, "model.safetensors")
    with open(single, "rb") as f:
        raw = f.read()
    length, = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8:8 + length])
    header.pop("__metadata__", None)
    weight_map, total = {}, 0
    for i, part in enumerate(PARTS, 1):
        name = f"model-{i:05d}-of-{len(PARTS):05d}.safetensors"
        tensors = {}
        for key in sorted(k for k in header if k.startswith(part + ".")):
            begin, end = (8 + length + o for o in header[key]["data_offsets"])
            tensors[key] = (header[key]["dtype"], header[key]["shape"], raw[begin:end])
            weight_map[key] = name
        total += _write(os.path.join(folder, name), tensors)
    assert len(weight_map) == len(header), sorted(set(header) - set(weight_map))[:5]
    with open(os.path.join(folder, "model.safetensors.index.json"), "w", encoding="utf-8") as f:
        json.dump({"metadata": {"total_size": total}, "weight_map": weight_map}, f, indent=1)
        f.write("\n")
    os.remove(single)
