"""The talker with its code predictor, and the prompt layout that generate() feeds it."""
import torch
import torch.nn as nn
import torch.nn.functional as F

from .config import CODEBOOK, CODEC, GROUPS, ID, SPEAKER
from .layers import MLP, Block, MoE, RMSNorm, Stack, init_weights, rope


class ResizeMLP(nn.Module):
    def __init__(self, width_in, inner, width_out):
        super().__init__()
        self.linear_fc1 = nn.Linear(width_in, inner)
        self.linear_fc2 = nn.Linear(inner, width_out)

    def forward(self, x):
        return self.linear_fc2(F.silu(self.linear_fc1(x)))


class Talker(nn.Module):
    def __init__(self, c):
        super().__init__()
        t, p = c["text_config"], c["code_predictor_config"]
        width, layers = t["hidden_size"], t["num_hidden_layers"]
        self.head_dim, self.theta = t["head_dim"], t["rope_parameters"]["rope_theta"]
        self.predictor_head_dim = p["head_dim"]
        self.predictor_theta = p["rope_parameters"]["rope_theta"]
        self.model = Stack()
        self.model.codec_embedding = nn.Embedding(t["vocab_size"], width)
        self.model.layers = nn.ModuleList(
            [Block(width, t["num_attention_heads"], t["num_key_value_heads"], t["head_dim"],
                   MoE(width, t["num_experts"], t["num_experts_per_tok"],
                       t["moe_intermediate_size"], t["shared_expert_intermediate_size"],
                       t["norm_topk_prob"])) for _ in range(layers)])
        self.model.norm = RMSNorm(width)
        self.codec_head = nn.Linear(width, t["vocab_size"], bias=False)
        self.text_projection = ResizeMLP(c["thinker_hidden_size"], t["intermediate_size"], width)
        self.hidden_projection = ResizeMLP(c["thinker_hidden_size"], t["intermediate_size"],
                                           width)
        self.code_predictor = Stack()
        self.code_predictor.model = Stack()
        self.code_predictor.model.codec_embedding = nn.ModuleList(
            [nn.Embedding(p["vocab_size"], width) for _ in range(GROUPS - 1)])
        self.code_predictor.model.layers = nn.ModuleList(
            [Block(width, p["num_attention_heads"], p["num_key_value_heads"], p["head_dim"],
                   MLP(width, p["intermediate_size"])) for _ in range(p["num_hidden_layers"])])
        self.code_predictor.model.norm = RMSNorm(width)
        self.code_predictor.lm_head = nn.ModuleList(
            [nn.Linear(width, p["vocab_size"], bias=False) for _ in range(GROUPS - 1)])
        init_weights(self, layers)
        for m in (self.text_projection, self.hidden_projection):
            for linear in (m.linear_fc1, m.linear_fc2):
                nn.init.normal_(linear.weight, 0, 0.06)
                nn.init.zeros_(linear.bias)
        # Audio and image positions say nothing to the talker: their projection stays zero.
        nn.init.zeros_(self.hidden_projection.linear_fc2.weight)
        self.hidden_projection.requires_grad_(False)

    def embed_codes(self, codes):
        """codes [..., GROUPS] -> summed embeddings [..., width]"""
        x = self.model.codec_embedding(codes[..., 0])
        for i, table in enumerate(self.code_predictor.model.codec_embedding):
            x = x + table(codes[..., i + 1])
        return x

    def backbone(self, x, cos, sin, mask=None, caches=None):
        for i, layer in enumerate(self.model.layers):
            x = layer(x, cos, sin, mask, caches[i] if caches else None)
        return self.model.norm(x)

    def balance(self):
        return torch.stack([b.mlp.balance for b in self.model.layers]).mean()

    def predictor(self, hidden, codes):
        """hidden [N, width], codes [N, GROUPS] -> logits [N, GROUPS-1, CODEBOOK]"""
        p = self.code_predictor
        seq = [hidden, self.model.codec_embedding(codes[:, 0]).to(hidden.dtype)]
        seq += [p.model.codec_embedding[i](codes[:, i + 1]).to(hidden.dtype)
                for i in range(GROUPS - 2)]
        x = torch.stack(seq, 1)
        cos, sin = rope(torch.arange(x.shape[1], device=x.device)[None],
                        self.predictor_head_dim, self.predictor_theta)
        for layer in p.model.layers:
            x = layer(x, cos, sin)
        x = p.model.norm(x)
        return torch.stack([p.lm_head[i](x[:, i + 1]) for i in range(GROUPS - 1)], 1)


def header(tokenizer, voice):
    """Assistant part before the first text token -> text ids, codec ids (-1: none)"""
    role = tokenizer.encode("<|im_start|>assistant\n")
    assert len(role) == 3
    text = role + [ID["tts_pad"]] * 4 + [ID["tts_bos"]]
    codec = [-1] * 3 + [CODEC["nothink"], CODEC["think_bos"], CODEC["think_eos"],
                        SPEAKER[voice], CODEC["pad"]]
    return text, codec


@torch.no_grad()
def speak(net, table, tokenizer, texts, voice, device, max_frames=200):
    """Greedy speech for a batch of texts -> list of codes [frames, GROUPS]

    Stops at the end token; a text that never ends gives max_frames frames."""
    text_head, codec_head = header(tokenizer, voice)
    h, b = len(text_head), len(texts)
    text = torch.full((b, h + 1 + max_frames), ID["tts_pad"], dtype=torch.long)
    for i, t in enumerate(texts):
        row = (text_head + tokenizer.encode(t) + [ID["tts_eos"]])[:text.shape[1]]
        text[i, :len(row)] = torch.tensor(row)
    projected = net.text_projection(table)[text.to(device)]
    codec = torch.tensor([max(c, 0) for c in codec_head] + [CODEC["bos"]], device=device)
    given = torch.tensor([c >= 0 for c in codec_head] + [True], device=device)
    embed = net.model.codec_embedding
    x = projected[:, :h + 1] + embed(codec) * given[:, None]
    cos, sin = rope(torch.arange(text.shape[1], device=device)[None], net.head_dim, net.theta)
    caches = [{} for _ in net.model.layers]
    codes, live, lengths, at = [], torch.ones(b, dtype=torch.bool, device=device), None, 0
    lengths = torch.full((b,), max_frames, device=device)
    for step in range(max_frames):
        n = x.shape[1]
        hidden = net.backbone(x, cos[:, at:at + n], sin[:, at:at + n], None, caches)[:, -1]
        at += n
        logits = net.codec_head(hidden).float()
        logits[:, CODEBOOK:CODEC["eos"]] = float("-inf")
        logits[:, CODEC["eos"] + 1:] = float("-inf")
        first = logits.argmax(-1)
        ended = live & (first == CODEC["eos"])
        lengths = torch.where(ended, step, lengths)
        live = live & ~ended
        if not live.any():
            break
        frame = rest_of_frame(net, hidden, first.clamp(max=CODEBOOK - 1))
        codes.append(frame)
        x = (net.embed_codes(frame) + projected[:, h + 1 + step])[:, None]
    codes = torch.stack(codes, 1).cpu()
    return [codes[i, :max(1, int(n))] for i, n in enumerate(lengths)]


def rest_of_frame(net, hidden, first):
    """hidden [B, width], first codes [B] -> greedy codes [B, GROUPS]"""
    p, caches, out, at = net.code_predictor, [{} for _ in net.code_predictor.model.layers], \
        [first], 0
    cos, sin = rope(torch.arange(GROUPS + 1, device=hidden.device)[None],
                    net.predictor_head_dim, net.predictor_theta)
    x = torch.stack([hidden, net.model.codec_embedding(first)], 1)
    for i in range(GROUPS - 1):
        n = x.shape[1]
        for layer, cache in zip(p.model.layers, caches):
            x = layer(x, cos[:, at:at + n], sin[:, at:at + n], None, cache)
        at += n
        out.append(p.lm_head[i](p.model.norm(x[:, -1])).argmax(-1))
        x = p.model.codec_embedding[i](out[-1])[:, None]
    return torch.stack(out, -1)
