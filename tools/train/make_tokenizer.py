"""Train the tokenizer on the generated text and write its files."""
import argparse
import os
import random

from nano import pictures, sentences, skills, tokenizer
from nano.config import SPECIAL_BASE, VOCAB
from nano.dialogue import SYSTEMS
from nano.words import Lexicon

TEMPLATE = os.path.join(os.path.dirname(__file__), "nano", "chat_template.jinja")


def corpus(lex, n, seed=7):
    r = random.Random(seed)
    texts = [sentences.reading_text(r, lex) for _ in range(n)]
    for _ in range(n):
        _, ask, answer = skills.question(r, lex)
        texts += [skills.vary(r, ask), answer]
    for _ in range(n // 4):
        objects, _ = pictures.scene(r)
        for _, turns in (pictures.turns(r, objects), pictures.turns(r, objects)):
            texts += [t for turn in turns for t in turn]
    return texts + ["system", "user", "assistant", "\n"] * (n // 20) + SYSTEMS * (n // 200)


def main():
    ap = argparse.ArgumentParser(description=__doc__)
    ap.add_argument("--lexicon", default="/usr/share/dict/scowl")
    ap.add_argument("--out", required=True)
    ap.add_argument("--texts", type=int, default=60000)
    a = ap.parse_args()
    lex = Lexicon(a.lexicon)
    merges = tokenizer.train(corpus(lex, a.texts), SPECIAL_BASE - 256,
                             forced=("system", "user", "assistant"))
    tk = tokenizer.Tokenizer(merges)
    assert len(tk) == VOCAB
    with open(TEMPLATE, encoding="utf-8") as f:
        tk.save(a.out, f.read())
    r = random.Random(8)
    chars = tokens = 0
    for _ in range(2000):
        text = sentences.reading_text(r, lex)
        ids = tk.encode(text)
        assert tk.decode(ids) == text
        chars, tokens = chars + len(text), tokens + len(ids)
    print("vocabulary %d, %.2f characters a token" % (len(tk), chars / tokens))


if __name__ == "__main__":
    main()
