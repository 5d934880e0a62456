"""Check that the training modules compute what transformers' qwen3_omni_moe classes compute
(random weights, float32, CPU). Exits with 1 on a difference."""
import argparse
import sys

import torch
from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeForConditionalGeneration

from nano import config, features, rows
from nano.code2wav import Code2Wav
from nano.config import CODEBOOK, GROUPS, ID, IMAGE_TOKENS, WIDTH
from nano.layers import rope
from nano.talker import Talker
from nano.thinker import Thinker
from nano.tokenizer import Tokenizer

_worst = 0.0


def compare(name, mine, reference):
    global _worst
    rel = ((mine - reference).norm() / reference.norm()).item()
    _worst = max(_worst, rel)
    print("%-12s relative difference %.2e" % (name, rel))


def jitter(module, seed):
    """Norm weights, biases and scales away from 0 and 1, so that a swapped one shows."""
    g = torch.Generator().manual_seed(seed)
    for p in module.parameters():
        if p.dim() < 2:
            p.data += 0.1 * torch.randn(p.shape, generator=g)
        elif not p.any():
            p.data += 0.1 * torch.randn(p.shape, generator=g)


def check_thinker(mine, ref):
    ids = torch.randint(0, 990, (2, 33))
    cos, sin = mine.rope(torch.arange(33)[None, None].expand(3, 2, -1))
    logits = mine.lm_head(mine.backbone(mine.model.embed_tokens(ids), cos, sin))
    compare("text", logits, ref(input_ids=ids, attention_mask=torch.ones_like(ids)).logits)
    n = torch.tensor([437, 160])
    mask = torch.arange(500)[None] < n[:, None]
    mel = torch.randn(2, 128, 500) * mask[:, None]
    y, valid = mine.audio_tower(mel, n)
    out = ref.get_audio_features(mel, feature_attention_mask=mask.long()).last_hidden_state
    compare("audio", y[valid], out)
    images = torch.randint(0, 255, (2, config.IMAGE_SIDE, config.IMAGE_SIDE, 3),
                           dtype=torch.uint8)
    patches = features.to_patches(images)
    tokens, deep = mine.visual(patches)
    row = [5, 6, ID["vision_start"]] + [ID["image_pad"]] * IMAGE_TOKENS + [ID["vision_end"], 7, 8]
    ids = torch.tensor([row, row])
    side = config.IMAGE_SIDE // config.PATCH
    grid = torch.tensor([[1, side, side]] * 2)
    want = ref(input_ids=ids, attention_mask=torch.ones_like(ids),
               pixel_values=patches.flatten(0, 1), image_grid_thw=grid).logits
    positions, _ = ref.get_rope_index(ids, grid, None, torch.ones_like(ids))
    ours = torch.from_numpy(rows.picture_positions(len(row), 3))
    compare("positions", ours.float(), positions[:, 0].float())
    cos, sin = mine.rope(positions)
    x, at = mine.model.embed_tokens(ids), ids == ID["image_pad"]
    x[at] = tokens.flatten(0, 1)
    spread = []
    for d in deep:
        full = torch.zeros_like(x)
        full[at] = d.flatten(0, 1)
        spread.append(full)
    compare("picture", mine.lm_head(mine.backbone(x, cos, sin, deep=spread)), want)


def check_talker(mine, ref):
    x = torch.randn(2, 20, WIDTH)
    cos, sin = rope(torch.arange(20)[None], mine.head_dim, mine.theta)
    hidden = mine.backbone(x, cos, sin)
    out = ref(inputs_embeds=x, attention_mask=torch.ones(2, 20), talker_input_ids=None,
              output_hidden_states=True)
    compare("talker", mine.codec_head(hidden), out.logits)
    hidden, codes = hidden.reshape(-1, WIDTH)[:6], torch.randint(0, CODEBOOK, (6, GROUPS))
    p = ref.code_predictor
    seq = [hidden, ref.model.codec_embedding(codes[:, 0])]
    seq += [p.model.codec_embedding[i](codes[:, i + 1]) for i in range(GROUPS - 2)]
    h = p.model(inputs_embeds=torch.stack(seq, 1)).last_hidden_state
    want = torch.stack([p.lm_head[i](h[:, i + 1]) for i in range(GROUPS - 1)], 1)
    compare("predictor", mine.predictor(hidden, codes), want)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--tokenizer", required=True)
    a = ap.parse_args()
    torch.manual_seed(0)
    c = config.make(Tokenizer.load(a.tokenizer))
    nets = {"thinker": Thinker(c["thinker_config"]), "talker": Talker(c["talker_config"]),
            "code2wav": Code2Wav(c["code2wav_config"])}
    ref = Qwen3OmniMoeForConditionalGeneration(
        Qwen3OmniMoeConfig(**{**c, "dtype": "float32"})).float().eval()
    state = {}
    for i, (name, net) in enumerate(nets.items()):
        jitter(net.eval(), i)
        state.update({f"{name}.{k}": v for k, v in net.state_dict().items()})
    found = ref.load_state_dict(state, strict=False)        # buffers are not in the state
    unset = set(found.missing_keys) & {n for n, _ in ref.named_parameters()}
    assert not unset and not found.unexpected_keys, (unset, found.unexpected_keys)
    with torch.no_grad():
        codes = torch.randint(0, CODEBOOK, (2, GROUPS, 90))
        compare("code2wav", nets["code2wav"](codes), ref.code2wav(codes)[:, 0])
        check_thinker(nets["thinker"], ref.thinker)
        check_talker(nets["talker"], ref.talker)
    return 0 if _worst < 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
