"""Reference answers to 20 prompts over all modalities, from an exported folder.

Float32 on a CPU, greedy everywhere, talker repetition penalty 1.0, computed by transformers'
classes or by the training modules, which check_reference.py holds against them. More prompts than
asked for are tried, and those whose choices are closest to a tie are dropped.

  OUT/NAME/case.json, OUT/NAME/case.safetensors   one case each
  OUT/media/                                      clips and pictures
"""
import argparse
import functools
import json
import os
import random
import shutil
import sys

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "eval"))

from make_sets import write_wav  # noqa: E402
from nano import checkpoint, pictures  # noqa: E402
from nano.config import CODEBOOK, CODEC, SPEAKER, VOICES  # noqa: E402
from nano.flite import Flite  # noqa: E402
from nano.generate import Conversation, chat_text  # noqa: E402
from skills import read_wav  # noqa: E402

TEXT_LIMIT, TALKER_LIMIT = 64, 120
SPARSE = 31                  # every 31st sample of the waveform is stored

TEXTS = [("hello", ["Hello!"]), ("who", ["Who are you?"]), ("skills", ["What can you do?"]),
         ("say", ["Say: The small boat crossed the cold lake at night."]),
         ("sum", ["What is twelve plus seven?"]), ("digits", ["9 * 6"]),
         ("spell", ["Spell garden."]), ("day", ["What day comes after Sunday?"]),
         ("capital", ["What is the capital of Norway?"]), ("opposite", ["Opposite of heavy?"]),
         ("refuse", ["Write a poem about space."]), ("count", ["Count from three to seven."]),
         ("two_turns", ["What is the capital of Japan?", "The capital of Japan is Tokyo.",
                        "And of Peru?"])]
CLIPS = [("hear_words", "The old train stops near the river.", "Transcribe the audio."),
         ("hear_more", "She found a golden key in the garden.", "What did I say?"),
         ("ask_sum", "What is five plus four?", ""),
         ("ask_name", "Who are you?", ""),
         ("ask_legs", "How many legs does a spider have?", "Answer the question."),
         ("ask_say", "Say good morning.", "")]
SCENES = [("one", [("circle", "red", .5, .45, .5)], "white", ["Describe the image."]),
          ("beside", [("square", "blue", .25, .5, .3), ("star", "yellow", .72, .52, .32)],
           "black", ["What do you see?"]),
          ("above", [("triangle", "green", .5, .25, .3), ("circle", "purple", .52, .74, .3)],
           "white", ["Describe this picture."]),
          ("three", [("star", "red", .18, .3, .26), ("circle", "blue", .5, .7, .26),
                     ("square", "green", .82, .35, .26)], "gray", ["What is shown here?"]),
          ("look_again", [("square", "orange", .26, .5, .3), ("circle", "black", .74, .5, .3)],
           "white", ["What is in the image?",
                     "There is an orange square to the left of a black circle.",
                     "And what color is the left one?"]),
          ("how_many", [("star", "blue", .3, .3, .3), ("triangle", "red", .7, .7, .3)],
           "white", ["How many shapes are there?"])]


class Tap:
    """Replaces obj.name by a function that keeps calls and results and can add arguments."""

    def __init__(self, obj, name, **extra):
        self.obj, self.name, self.extra = obj, name, extra
        self.calls, self.results = [], []

    def __enter__(self):
        original = getattr(self.obj, self.name)

        @functools.wraps(original)
        def wrapped(*args, **kwargs):
            kwargs.update(self.extra)
            self.calls.append((args, kwargs))
            self.results.append(original(*args, **kwargs))
            return self.results[-1]

        self.obj.__dict__[self.name] = wrapped
        return self

    def __exit__(self, *exc):
        self.obj.__dict__.pop(self.name, None)


def margin(step_logits, allowed=None):
    """Smallest gap between best and second-best choice over the steps."""
    v = torch.stack([x.reshape(-1).float() for x in step_logits])
    best = (v if allowed is None else v[:, allowed]).topk(2, -1).values
    return float((best[:, 0] - best[:, 1]).min())


def make_media(out, flite_folder):
    os.makedirs(f"{out}/media", exist_ok=True)
    voices, flite = list(VOICES.values()), Flite(sorted(set(VOICES.values())), flite_folder)
    for i, (name, said, _) in enumerate(CLIPS):
        wav = flite.say(said, voices[i % len(voices)])
        write_wav(f"{out}/media/{name}.wav", np.concatenate([np.zeros(1600), wav, np.zeros(1600)]))
    for i, (name, objects, ground, _) in enumerate(SCENES):
        pictures.draw(random.Random(i), objects, ground).save(f"{out}/media/{name}.png")


def cases():
    """-> (name, messages)"""
    def conversation(turns, first=()):
        out = []
        for i, text in enumerate(turns):
            parts = [*(first if i == 0 else ()), *([dict(type="text", text=text)] if text else [])]
            out.append(dict(role="user" if i % 2 == 0 else "assistant", content=parts))
        return out

    for name, turns in TEXTS:
        yield name, conversation(turns)
    for name, _, ask in CLIPS:
        yield name, conversation([ask], [dict(type="audio", audio=f"{name}.wav")])
    for name, _, _, turns in SCENES:
        yield name, conversation(turns, [dict(type="image", image=f"{name}.png")])


def media_of(messages, folder):
    """-> [("audio", float32 wave) or ("image", PIL image), ...] in the order of the messages"""
    out = []
    for part in (p for m in messages for p in m["content"]):
        if part["type"] == "image":
            out.append(("image", Image.open(f"{folder}/{part['image']}").convert("RGB")))
        elif part["type"] == "audio":
            out.append(("audio", read_wav(f"{folder}/{part['audio']}")))
    return out


class Modules:
    """Computes a case with the training modules."""

    def __init__(self, folder):
        self.talk = Conversation(*checkpoint.load(folder, torch.device("cpu")))
        self.name = "training modules"

    def run(self, messages, media, voice):
        media = [(k, m if k == "audio" else pictures.pixels(m)) for k, m in media]
        out = self.talk.run(messages, media, voice, TEXT_LIMIT, TALKER_LIMIT)
        return dict(out, greedy_text=self.talk.tk.decode(out["greedy_ids"]))


class Transformers:
    """Computes a case with transformers' classes."""

    def __init__(self, folder):
        import transformers
        self.model = transformers.Qwen3OmniMoeForConditionalGeneration.from_pretrained(
            folder, dtype=torch.float32).eval()
        self.processor = transformers.AutoProcessor.from_pretrained(folder)
        self.name = "transformers " + transformers.__version__

    def run(self, messages, media, voice):
        model, config = self.model, self.model.config
        text = self.processor.apply_chat_template(messages, add_generation_prompt=True,
                                                  tokenize=False)
        assert text == chat_text(messages), text
        found = {"images": [m for k, m in media if k == "image"],
                 "audio": [m for k, m in media if k == "audio"]}
        inputs = self.processor(text=[text], return_tensors="pt",
                                **{k: v for k, v in found.items() if v})
        model.thinker.rope_deltas = model.talker.rope_deltas = None
        with Tap(model.thinker, "generate", output_logits=True) as thinker, \
                Tap(model.talker, "generate", output_logits=True) as talker, \
                Tap(model.talker.code_predictor, "generate", output_logits=True) as predictor, \
                Tap(model.code2wav, "chunked_decode") as decode:
            _, wave = model.generate(
                **inputs, speaker=voice, thinker_max_new_tokens=TEXT_LIMIT,
                thinker_eos_token_id=config.im_end_token_id, thinker_do_sample=False,
                talker_do_sample=False, talker_repetition_penalty=1.0,
                talker_max_new_tokens=TALKER_LIMIT)
        said, spoken, call = thinker.results[-1], talker.results[-1], talker.calls[0][1]
        ids = said.sequences[0, inputs["input_ids"].shape[1]:].tolist()
        allowed = [*range(CODEBOOK), CODEC["eos"]]
        return dict(
            chat_text=text, input_ids=inputs["input_ids"][0].tolist(), greedy_ids=ids,
            greedy_text=self.processor.tokenizer.decode(ids, skip_special_tokens=True),
            greedy_margin=margin(said.logits),
            talker_input_ids=call["talker_input_ids"][0].tolist(),
            talker_inputs_embeds=call["inputs_embeds"][0], codes=decode.calls[0][0][0][0],
            sequence=spoken.sequences[0].tolist(), code_margin=margin(spoken.logits, allowed),
            residual_code_margin=min(margin(r.logits) for r in predictor.results),
            wave=wave.reshape(-1))


def write_case(reference, name, messages, voice, out):
    r = reference.run(messages, media_of(messages, f"{out}/media"), voice)
    tensors = {"input_ids": torch.tensor(r["input_ids"]),
               "greedy_ids": torch.tensor(r["greedy_ids"]),
               "talker.input_ids": torch.tensor(r["talker_input_ids"]),
               "talker.inputs_embeds": r["talker_inputs_embeds"].float(),
               "talker.sequence": torch.tensor(r["sequence"]), "talker.codes": r["codes"],
               f"wave_every{SPARSE}st": r["wave"][::SPARSE].float()}
    info = dict(
        name=name, messages=messages, chat_text=r["chat_text"],
        prompt_tokens=len(r["input_ids"]), greedy_ids=r["greedy_ids"],
        greedy_text=r["greedy_text"], eos_token_id=r["greedy_ids"][-1],
        thinker_max_new_tokens=TEXT_LIMIT, greedy_margin=r["greedy_margin"],
        talker=dict(speaker=voice, speaker_id=SPEAKER[voice], do_sample=False,
                    repetition_penalty=1.0, max_new_tokens=TALKER_LIMIT,
                    frames=r["codes"].shape[-1], ended=r["sequence"][-1] == CODEC["eos"],
                    code_margin=r["code_margin"],
                    residual_code_margin=r["residual_code_margin"]),
        wave_samples=r["wave"].numel(),
        tensors={k: [str(v.dtype).replace("torch.", ""), list(v.shape)]
                 for k, v in tensors.items()},
        made_with=dict(by=reference.name, torch=torch.__version__, device="cpu",
                       dtype="float32"))
    os.makedirs(f"{out}/{name}", exist_ok=True)
    checkpoint.write_safetensors(f"{out}/{name}/case.safetensors", tensors)
    with open(f"{out}/{name}/case.json", "w", encoding="utf-8") as f:
        json.dump(info, f, indent=1, ensure_ascii=False)
        f.write("\n")
    print(name, repr(r["greedy_text"]), "frames", r["codes"].shape[-1],
          "margins %.4f %.4f %.5f" % (r["greedy_margin"], r["code_margin"],
                                      r["residual_code_margin"]), flush=True)


def select(out, keep):
    """Drops the cases with the closest choices; every kind of prompt stays."""
    found = []
    for name, _ in cases():
        with open(f"{out}/{name}/case.json", encoding="utf-8") as f:
            info = json.load(f)
        t = info["talker"]
        found.append((min(info["greedy_margin"], t["code_margin"], t["residual_code_margin"]),
                      name))
    for _, name in sorted(found)[:max(0, len(found) - keep)]:
        shutil.rmtree(f"{out}/{name}")
        for ending in ("wav", "png"):
            if os.path.exists(f"{out}/media/{name}.{ending}"):
                os.remove(f"{out}/media/{name}.{ending}")
    print("kept", keep, "cases, smallest margin %.5f" % sorted(found)[len(found) - keep][0])


def main():
    ap = argparse.ArgumentParser(description=__doc__,
                                 formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--model", required=True)
    ap.add_argument("--out", required=True)
    ap.add_argument("--by", choices=("transformers", "modules"), default="transformers")
    ap.add_argument("--flite")
    ap.add_argument("--part", type=int, nargs=2, default=(0, 1),
                    help="compute every Nth case only, to share the work")
    ap.add_argument("--keep", type=int, default=20)
    ap.add_argument("--select", action="store_true", help="only choose among computed cases")
    a = ap.parse_args()
    torch.set_grad_enabled(False)
    torch.set_num_threads(1)                 # parts run side by side
    if not os.path.exists(f"{a.out}/media"):
        make_media(a.out, a.flite)
    if not a.select:
        reference = (Transformers if a.by == "transformers" else Modules)(a.model)
        for i, (name, messages) in enumerate(cases()):
            if i % a.part[1] == a.part[0]:
                write_case(reference, name, messages, list(VOICES)[i % len(VOICES)], a.out)
    if a.select or a.part[1] == 1:
        select(a.out, a.keep)


if __name__ == "__main__":
    main()
