"""One conversation through the whole model, greedy, with the training modules: what
Qwen3OmniMoeForConditionalGeneration.generate() does for a batch of one."""
import numpy as np
import torch

from .config import CODEBOOK, CODEC, GROUPS, ID, IMAGE_SIDE, MERGE, PATCH
from .encoders import CHUNK, audio_tokens
from .features import HOP, to_patches, whisper_mel
from .layers import mrope, rope
from .talker import header

_MARK = {"audio": "<|audio_start|><|audio_pad|><|audio_end|>",
         "image": "<|vision_start|><|image_pad|><|vision_end|>"}
_PADS = (ID["audio_pad"], ID["image_pad"])


def chat_text(messages):
    """messages as in the chat API, contents as lists of parts -> prompt text"""
    out = ""
    for m in messages:
        body = "".join(p["text"] if p["type"] == "text" else _MARK[p["type"]]
                       for p in m["content"])
        out += f"<|im_start|>{m['role']}\n{body}<|im_end|>\n"
    return out + "<|im_start|>assistant\n"


def positions_of(ids):
    """ids [n] with expanded placeholders -> positions [3, n]; only pictures leave the line"""
    side = IMAGE_SIDE // (PATCH * MERGE)
    out, at, i = [], 0, 0
    while i < len(ids):
        if ids[i] == ID["image_pad"]:
            grid = np.arange(side * side)
            out.append(np.stack([np.full(side * side, at), at + grid // side, at + grid % side]))
            i, at = i + side * side, at + side
        else:
            out.append(np.full((3, 1), at))
            i, at = i + 1, at + 1
    return torch.from_numpy(np.concatenate(out, 1))


def _gap(logits):
    best = logits.float().topk(2).values
    return float(best[0] - best[1])


class Conversation:
    """thinker, talker and code2wav of checkpoint.load(), on one device"""

    def __init__(self, tokenizer, thinker, talker, code2wav):
        self.tk, self.thinker, self.talker, self.code2wav = tokenizer, thinker, talker, code2wav
        self.table = thinker.model.embed_tokens.weight

    def hear(self, wave):
        """wave float32 at 16 kHz -> embeddings [n, width]"""
        n = len(wave) // HOP * HOP
        room = torch.zeros(1, -(-n // HOP // CHUNK) * CHUNK * HOP)
        room[0, :n] = torch.from_numpy(np.ascontiguousarray(wave[:n]))
        mel, frames = whisper_mel(room, torch.tensor([n]))
        return self.thinker.audio_tower(mel, frames)[0][0, :audio_tokens(n // HOP)]

    def see(self, pixels):
        """uint8 [side, side, 3] -> embeddings [n, width], deepstack features"""
        y, deep = self.thinker.visual(to_patches(torch.from_numpy(pixels.copy())[None]))
        return y[0], [d[0] for d in deep]

    def think(self, text, media, most):
        """text with one placeholder for each of media, ("audio", wave) or ("image", pixels)
        -> prompt ids [n], answer ids with the end token, smallest margin"""
        ids, x, deep = [], [], [[] for _ in self.thinker.visual.deepstack]
        media = iter(media)
        for i in self.tk.encode(text):
            e, d = self.table[i][None], None
            if i in _PADS:
                kind, data = next(media)
                e, d = (self.hear(data), None) if kind == "audio" else self.see(data)
            ids += [i] * len(e)
            x.append(e)
            for k, f in enumerate(deep):
                f.append(torch.zeros_like(e) if d is None else d[k])
        x, deep = torch.cat(x)[None], [torch.cat(f)[None] for f in deep]
        positions = positions_of(ids)
        at, caches = int(positions.max()) + 1, [{} for _ in self.thinker.model.layers]
        answer, margin = [], float("inf")
        positions = positions[:, None]
        while True:
            cos, sin = self.thinker.rope(positions)
            hidden = self.thinker.backbone(x, cos, sin, None, deep, caches)[0, -1]
            logits = self.thinker.lm_head(hidden)
            margin = min(margin, _gap(logits))
            answer.append(int(logits.argmax()))
            if answer[-1] == ID["im_end"] or len(answer) == most:
                return ids, answer, margin
            x, deep = self.table[answer[-1]][None, None], ()
            positions = torch.full((3, 1, 1), at)
            at += 1

    def prompt(self, ids, answer, voice):
        """-> talker input ids (for positions), embeddings [S, width], text still to come
        [R, width], embedding of the padding"""
        role, user, last = None, [], 0
        for i, token in enumerate(ids):
            if token == ID["im_start"]:
                role, last = self.tk.decode([ids[i + 1]]), i
            if role == "user":
                user.append(token)
        assert role == "assistant" and last == len(ids) - 3
        project = self.talker.text_projection
        mine = project(self.table[torch.tensor(user)])
        mine[torch.tensor([t in _PADS for t in user])] = 0      # hidden_projection gives zeros
        text, codec = header(self.tk, voice)
        spoken = answer[:-1] if answer[-1] == ID["im_end"] else answer
        text = text + spoken[:1]
        codec = torch.tensor(codec + [CODEC["bos"]])
        head = project(self.table[torch.tensor(text)])
        embed = self.talker.model.codec_embedding(codec.clamp(min=0))
        head = head + embed * (codec >= 0)[:, None]
        rest = project(self.table[torch.tensor([*spoken[1:], ID["tts_eos"]])])
        pad = project(self.table[ID["tts_pad"]][None])[0]
        return [*user, *[ID["tts_pad"]] * len(text)], torch.cat([mine, head]), rest, pad

    def speak(self, ids, x, rest, pad, most):
        """-> codes [frames, GROUPS], first-group sequence with the end token, smallest margins of
        the first group and of the others"""
        net, section = self.talker, self.thinker.section
        positions = positions_of(ids)
        at, caches = int(positions.max()) + 1, [{} for _ in net.model.layers]
        x, positions, codes, sequence = x[None], positions[:, None], [], []
        margins = [float("inf"), float("inf")]
        while len(sequence) < most:
            cos, sin = mrope(positions, net.head_dim, section, net.theta)
            hidden = net.backbone(x, cos, sin, None, caches)[:, -1]
            logits = net.codec_head(hidden)[0].float()
            allowed = torch.cat([logits[:CODEBOOK], logits[CODEC["eos"]][None]])
            margins[0] = min(margins[0], _gap(allowed))
            best = int(allowed.argmax())
            sequence.append(best if best < CODEBOOK else CODEC["eos"])
            if best == CODEBOOK or len(sequence) == most:
                break
            frame, margin = self.frame(hidden, best)
            margins[1] = min(margins[1], margin)
            codes.append(frame)
            step = len(codes) - 1
            x = net.embed_codes(frame)[None, None] + (rest[step] if step < len(rest) else pad)
            positions = torch.full((3, 1, 1), at)
            at += 1
        return torch.stack(codes), sequence, margins

    def frame(self, hidden, first):
        """hidden [1, width], first code -> codes [GROUPS], smallest margin"""
        p = self.talker.code_predictor
        caches, codes, margin = [{} for _ in p.model.layers], [first], float("inf")
        x = torch.cat([hidden, self.talker.model.codec_embedding(torch.tensor([first]))])[None]
        at = 0
        for i in range(GROUPS - 1):
            n = x.shape[1]
            cos, sin = rope(torch.arange(at, at + n)[None], self.talker.predictor_head_dim,
                            self.talker.predictor_theta)
            for layer, cache in zip(p.model.layers, caches):
                x = layer(x, cos, sin, None, cache)
            at += n
            logits = p.lm_head[i](p.model.norm(x[0, -1]))
            margin = min(margin, _gap(logits))
            codes.append(int(logits.argmax()))
            x = p.model.codec_embedding[i](torch.tensor([[codes[-1]]]))
        return torch.tensor(codes), margin

    @torch.no_grad()
    def run(self, messages, media, voice, most_text=64, most_frames=120):
        """-> dict of what happened on the way; `wave` is float32 [samples] at 24 kHz"""
        text = chat_text(messages)
        ids, answer, margin = self.think(text, media, most_text)
        talker_ids, x, rest, pad = self.prompt(ids, answer, voice)
        codes, sequence, margins = self.speak(talker_ids, x, rest, pad, most_frames)
        return dict(chat_text=text, input_ids=ids, greedy_ids=answer, greedy_margin=margin,
                    talker_input_ids=talker_ids, talker_inputs_embeds=x, codes=codes.T,
                    sequence=sequence, code_margin=margins[0], residual_code_margin=margins[1],
                    wave=self.code2wav(codes.T[None])[0])
