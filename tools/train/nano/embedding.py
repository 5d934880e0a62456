"""The thinker's fixed token embeddings.

Training never moves them: the talker's text inputs are projections of these rows, so with a fixed
table the thinker and the talker can be trained at the same time."""
import math

import numpy as np
import torch

from .config import VOCAB, WIDTH


def table(tokenizer, std=0.3, seed=0):
    """-> float32 [VOCAB, WIDTH]

    A row is the sum of random codes: one of the token itself and one for each character with its
    place from the left, from the right and without a place, and for a leading space and an upper
    case letter. Spelling and pronunciation can thus be read off a row."""
    rng = np.random.default_rng(seed)

    def code(*shape):
        return rng.standard_normal((*shape, WIDTH)) / math.sqrt(WIDTH)

    left, right, bag, own = code(8, 256), code(4, 256), code(256), code(VOCAB)
    space, upper, special = code(), code(), code()
    out = np.zeros((VOCAB, WIDTH))
    for i in range(VOCAB):
        token = tokenizer.token[i]
        row = own[i].copy()
        if token in tokenizer.special:
            row += special
        else:
            data = bytes(tokenizer.to_byte[c] for c in token)
            if data[:1] == b" " and len(data) > 1:
                row += 0.7 * space
                data = data[1:]
            if data[:1].isupper():
                row += 0.5 * upper
            data = data.lower()
            row += 0.7 * sum(left[k, c] for k, c in enumerate(data[:8]))
            row += 0.4 * sum(right[k, c] for k, c in enumerate(data[::-1][:4]))
            row += 0.3 * sum(bag[c] for c in data)
        out[i] = row / np.sqrt((row * row).mean()) * std
    return torch.from_numpy(out).float()
