"""Byte-level BPE in the Qwen layout: trainer, encoder, and writer of the tokenizer files."""
import collections
import json
import os
import unicodedata

import regex

PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")
SPECIALS = (
    "<|endoftext|> <|im_start|> <|im_end|> <|object_ref_start|> <|object_ref_end|> <|box_start|> "
    "<|box_end|> <|quad_start|> <|quad_end|> <|vision_start|> <|vision_end|> <|vision_pad|> "
    "<|image_pad|> <|video_pad|> <tool_call> </tool_call> <|fim_prefix|> <|fim_middle|> "
    "<|fim_suffix|> <|fim_pad|> <|repo_name|> <|file_sep|> <tool_response> </tool_response> "
    "<think> </think> <|audio_start|> <|audio_end|> <tts_pad> <tts_text_bos> <tts_text_eod> "
    "<tts_text_bos_single> <|audio_pad|>").split()
# As in Qwen, these are added tokens but not special ones.
ORDINARY = {"<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>",
            "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>",
            "</tool_response>", "<think>", "</think>"}
_NAMED = dict(image_token="<|image_pad|>", audio_token="<|audio_pad|>",
              video_token="<|video_pad|>", vision_bos_token="<|vision_start|>",
              vision_eos_token="<|vision_end|>", audio_bos_token="<|audio_start|>",
              audio_eos_token="<|audio_end|>")


def byte_map():
    """byte -> printable character, as GPT-2 maps them"""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in kept]
    return {**{b: chr(b) for b in kept}, **{b: chr(256 + i) for i, b in enumerate(rest)}}


def _merge(pair, parts):
    out, i = [], 0
    while i < len(parts):
        if i + 1 < len(parts) and (parts[i], parts[i + 1]) == pair:
            out.append(parts[i] + parts[i + 1])
            i += 2
        else:
            out.append(parts[i])
            i += 1
    return out


def train(texts, n_merges, forced=()):
    """Greedy BPE over pre-tokenised words; `forced` words become single tokens first."""
    to_char = byte_map()
    pattern = regex.compile(PATTERN)
    count = collections.Counter()
    for text in texts:
        count.update(pattern.findall(text))
    words = {w: [to_char[b] for b in w.encode()] for w in count}
    merges, pairs, where = [], collections.Counter(), collections.defaultdict(set)
    for w, parts in words.items():
        for p in zip(parts, parts[1:]):
            pairs[p] += count[w]
            where[p].add(w)

    def do(pair):
        merges.append(pair)
        for w in list(where[pair]):
            for p in zip(words[w], words[w][1:]):
                pairs[p] -= count[w]
                where[p].discard(w)
            words[w] = _merge(pair, words[w])
            for p in zip(words[w], words[w][1:]):
                pairs[p] += count[w]
                where[p].add(w)
        pairs.pop(pair, None)

    for word in forced:
        parts = [to_char[b] for b in word.encode()]
        for m in merges:
            parts = _merge(m, parts)
        while len(parts) > 1:
            pair = max(zip(parts, parts[1:]), key=lambda q: pairs[q])
            do(pair)
            parts = _merge(pair, parts)
    while len(merges) < n_merges:
        do(max(pairs.items(), key=lambda kv: (kv[1], kv[0]))[0])
    return merges


class Tokenizer:
    """Encodes as the written tokenizer.json does."""

    def __init__(self, merges):
        self.to_char = byte_map()
        self.to_byte = {c: b for b, c in self.to_char.items()}
        self.merges = [tuple(m) for m in merges]
        self._rank = {m: i for i, m in enumerate(self.merges)}
        tokens = sorted(self.to_char.values()) + [a + b for a, b in self.merges]
        self.vocab = {t: i for i, t in enumerate(tokens)}
        assert len(self.vocab) == len(tokens)
        self.special = {t: len(tokens) + i for i, t in enumerate(SPECIALS)}
        self.token = {i: t for t, i in {**self.vocab, **self.special}.items()}
        self._pattern = regex.compile(PATTERN)
        self._split = regex.compile("(" + "|".join(regex.escape(s) for s in SPECIALS) + ")")
        self._cache = {}

    def __len__(self):
        return len(self.token)

    def _word(self, word):
        if word not in self._cache:
            parts = [self.to_char[b] for b in word.encode()]
            while len(parts) > 1:
                pair = min(zip(parts, parts[1:]), key=lambda p: self._rank.get(p, 1 << 30))
                if pair not in self._rank:
                    break
                parts = _merge(pair, parts)
            self._cache[word] = [self.vocab[t] for t in parts]
        return self._cache[word]

    def encode(self, text):
        out = []
        for part in self._split.split(text):
            if part in self.special:
                out.append(self.special[part])
            elif part:
                for word in self._pattern.findall(unicodedata.normalize("NFC", part)):
                    out += self._word(word)
        return out

    def decode(self, ids):
        """Text without the added tokens."""
        data = bytearray()
        for i in ids:
            token = self.token[int(i)]
            if token not in self.special:
                data += bytes(self.to_byte[c] for c in token)
        return data.decode("utf-8", "replace")

    @classmethod
    def load(cls, folder):
        with open(os.path.join(folder, "merges.txt"), encoding="utf-8") as f:
            return cls([tuple(line.split(" ")) for line in f.read().split("\n")
                        if line and not line.startswith("#version")])

    def save(self, folder, chat_template):
        """merges.txt, vocab.json, tokenizer.json, tokenizer_config.json, chat_template.json"""
        os.makedirs(folder, exist_ok=True)

        def write(name, obj, indent=None):
            with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
                json.dump(obj, f, ensure_ascii=False, indent=indent)
                f.write("\n")

        with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
            f.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in self.merges))
        write("vocab.json", self.vocab)
        added = [dict(id=i, content=t, single_word=False, lstrip=False, rstrip=False,
                      normalized=False, special=t not in ORDINARY)
                 for t, i in self.special.items()]
        bytes_only = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=False,
                          use_regex=False)
        write("tokenizer.json", dict(
            version="1.0", truncation=None, padding=None, added_tokens=added,
            normalizer=dict(type="NFC"),
            pre_tokenizer=dict(type="Sequence", pretokenizers=[
                dict(type="Split", pattern=dict(Regex=PATTERN), behavior="Isolated",
                     invert=False), bytes_only]),
            post_processor=bytes_only, decoder=bytes_only,
            model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None,
                       end_of_word_suffix=None, fuse_unk=False, byte_fallback=False,
                       ignore_merges=False, vocab=self.vocab,
                       merges=[list(m) for m in self.merges])))
        write("tokenizer_config.json", dict(
            add_bos_token=False, add_prefix_space=False, bos_token=None, eos_token="<|im_end|>",
            pad_token="<|endoftext|>", unk_token=None, errors="replace",
            clean_up_tokenization_spaces=False, model_max_length=32768,
            split_special_tokens=False, tokenizer_class="Qwen2Tokenizer",
            processor_class="Qwen3OmniMoeProcessor", extra_special_tokens=_NAMED, **_NAMED,
            additional_special_tokens=[t for t in SPECIALS
                                       if t not in ORDINARY and t != "<|endoftext|>"],
            added_tokens_decoder={str(a["id"]): {k: v for k, v in a.items() if k != "id"}
                                  for a in added},
            chat_template=chat_template), indent=1)
        write("chat_template.json", dict(chat_template=chat_template), indent=1)
