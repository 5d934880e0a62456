"""Put the trained parts into one Hugging Face qwen3_omni_moe folder with bfloat16 weights."""
import argparse
import json
import os

import torch

from nano import checkpoint, codec, config, embedding, shards
from nano.config import ID
from nano.runtime import load, log
from nano.tokenizer import Tokenizer

# smart_resize turns any square picture into IMAGE_SIDE**2 pixels within these bounds.
MIN_PIXELS, MAX_PIXELS = (config.IMAGE_SIDE - 12) ** 2, (config.IMAGE_SIDE + 8) ** 2


def published_spelling(c):
    """rope_parameters, as transformers 5 saves them, become rope_theta and rope_scaling."""
    if not isinstance(c, dict):
        return c
    out = {}
    for k, v in c.items():
        if k != "rope_parameters":
            out[k] = published_spelling(v)
            continue
        v = dict(v)
        out["rope_theta"] = v.pop("rope_theta")
        out["rope_scaling"] = {**v, "type": "default"} if "mrope_section" in v else None
    return out


def generation_config():
    """Greedy throughout: the model is small, and its best guess is its best answer. Its vocoder
    begins with a step out of silence, which the fade-in hides."""
    return dict(do_sample=False, repetition_penalty=1.0, eos_token_id=ID["im_end"],
                pad_token_id=ID["endoftext"], talker_do_sample=False,
                talker_repetition_penalty=1.0, talker_max_new_tokens=500,
                thinker_max_new_tokens=256, code2wav_fade_in_ms=20)


def processor_configs():
    image = dict(image_mean=[.5] * 3, image_std=[.5] * 3, min_pixels=MIN_PIXELS,
                 max_pixels=MAX_PIXELS, merge_size=config.MERGE, patch_size=config.PATCH,
                 temporal_patch_size=2, processor_class="Qwen3OmniMoeProcessor")
    audio = dict(dither=0.0, feature_extractor_type="WhisperFeatureExtractor", feature_size=128,
                 chunk_length=300, hop_length=160, n_fft=400, n_samples=4800000,
                 nb_max_frames=30000, padding_side="right", padding_value=0.0,
                 return_attention_mask=True, sampling_rate=16000)
    video = dict(do_convert_rgb=True, do_normalize=True, do_rescale=True, do_resize=True,
                 resample=3, rescale_factor=1 / 255,
                 video_processor_type="Qwen2VLVideoProcessor")
    return ({**audio, **image, "image_processor_type": "Qwen2VLImageProcessor"},
            {**image, **video})


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--tokenizer", required=True)
    ap.add_argument("--thinker", required=True)
    ap.add_argument("--talker", required=True)
    ap.add_argument("--code2wav", required=True)
    ap.add_argument("--codec", help="checkpoint of the codes, to write --codec-out")
    ap.add_argument("--codec-out", help="compact encoder and codebooks, to train on later")
    ap.add_argument("--out", required=True)
    a = ap.parse_args()
    from transformers import Qwen3OmniMoeConfig, Qwen3OmniMoeForConditionalGeneration
    tokenizer = Tokenizer.load(a.tokenizer)
    c = config.make(tokenizer)
    state = {}
    for part in ("thinker", "talker", "code2wav"):
        weights = checkpoint.parts(getattr(a, part))[part]
        state.update({f"{part}.{k}": v for k, v in weights.items()})
    state["thinker.model.embed_tokens.weight"] = embedding.table(tokenizer)
    model = Qwen3OmniMoeForConditionalGeneration(Qwen3OmniMoeConfig(**{**c, "dtype": "float32"}))
    found = model.load_state_dict(state, strict=False)      # buffers are not in the state
    unset = set(found.missing_keys) & {n for n, _ in model.named_parameters()}
    assert not unset and not found.unexpected_keys, (unset, found.unexpected_keys)
    model.to(torch.bfloat16).save_pretrained(a.out)
    shards.split_by_stage(a.out)

    def write(name, content):
        with open(os.path.join(a.out, name), "w", encoding="utf-8") as f:
            json.dump(content, f, indent=1)
            f.write("\n")

    with open(os.path.join(os.path.dirname(__file__), "nano", "chat_template.jinja"),
              encoding="utf-8") as f:
        tokenizer.save(a.out, f.read())
    with open(os.path.join(a.out, "config.json"), encoding="utf-8") as f:
        saved = json.load(f)
    write("config.json", published_spelling({**saved, "dtype": "bfloat16"}))
    write("generation_config.json", generation_config())
    for name, content in zip(("preprocessor_config.json", "video_preprocessor_config.json"),
                             processor_configs()):
        write(name, content)
    if a.codec and a.codec_out:
        torch.save(codec.compact(load(a.codec, "cpu")), a.codec_out)
    log("%d parameters," % sum(p.numel() for p in model.parameters()),
        {f: os.path.getsize(os.path.join(a.out, f)) for f in sorted(os.listdir(a.out))})


if __name__ == "__main__":
    main()
