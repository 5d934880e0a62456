"""Two-turn conversations in text, and how a conversation becomes token ids."""
from .facts import CAPITALS, OPPOSITES
from .sentences import any_word, spelled
from .skills import question, vary
from .words import DAYS, MONTHS, NAMES, capital, number

SYSTEMS = ["You are a helpful assistant.", "You are Tutti Nano, a tiny omni model.",
           "You are Qwen, a virtual human developed by the Qwen Team, Alibaba Group, capable of "
           "perceiving auditory and visual inputs, as well as generating text and speech.",
           "Answer briefly.", "You are a friendly assistant. Answer in one sentence.",
           "You are a voice assistant."]


def pick_system(r, lex):
    """A system prompt or None; the answers never depend on it."""
    return None if r.random() < .65 else r.choice(SYSTEMS)


def follow_up(r, lex):
    """Two turns whose second question needs the first: [(question, answer), ...]"""
    k = r.randrange(8)
    if k == 0:
        a, b, c = r.randrange(21), r.randrange(21), r.randrange(11)
        show = number if r.random() < .5 else str
        return [(f"What is {show(a)} plus {show(b)}?",
                 f"{capital(show(a))} plus {show(b)} is {show(a + b)}."),
                (r.choice((f"And plus {show(c)}?", f"Add {show(c)}.")),
                 f"{capital(show(a + b))} plus {show(c)} is {show(a + b + c)}.")]
    if k == 1:
        a, b = r.sample(list(CAPITALS), 2)
        return [(f"What is the capital of {a}?", f"The capital of {a} is {CAPITALS[a]}."),
                (r.choice((f"And of {b}?", f"And {b}?", f"What about {b}?")),
                 f"The capital of {b} is {CAPITALS[b]}.")]
    if k == 2:
        a, b = any_word(r, lex), any_word(r, lex)
        return [(f"Spell {a}.", spelled(a)),
                (r.choice((f"And {b}?", f"Now {b}.", f"What about {b}?")), spelled(b))]
    if k == 3:
        name = r.choice(NAMES)
        return [(r.choice((f"My name is {name}.", f"I am {name}.", f"Call me {name}.")),
                 f"Hello {name}! How can I help you today?"),
                (r.choice(("What is my name?", "Who am I?", "Do you remember my name?")),
                 f"Your name is {name}.")]
    if k == 4:
        names, kind = ((DAYS, "day"), (MONTHS, "month"))[r.randrange(2)]
        i, n = r.randrange(len(names)), len(names)
        return [(f"What {kind} comes after {names[i]}?",
                 f"{names[(i + 1) % n]} comes after {names[i]}."),
                (r.choice(("And after that?", "And the next one?")),
                 f"{names[(i + 2) % n]} comes after {names[(i + 1) % n]}.")]
    if k == 5:
        (a, b), (c, d) = r.sample([p for p in OPPOSITES
                                   if sum(p[0] in q for q in OPPOSITES) == 1], 2)
        return [(f"What is the opposite of {a}?", f"The opposite of {a} is {b}."),
                (r.choice((f"And of {c}?", f"And {c}?")), f"The opposite of {c} is {d}.")]
    _, ask, answer = question(r, lex, leave_out=("unknown",))
    if k == 6:
        return [(ask, answer), (r.choice(("Say that again.", "Repeat that, please.",
                                          "What did you say?", "Pardon?")), answer)]
    return [(ask, answer), tuple(question(r, lex)[1:])]


def conversation(r, lex):
    """-> (tag, turns); one turn mostly, two at times"""
    if r.random() < .14:
        return "two turns", [(vary(r, q) if i == 0 else q, a)
                             for i, (q, a) in enumerate(follow_up(r, lex))]
    name, ask, answer = question(r, lex)
    return name, [(vary(r, ask), answer)]


def encode(tokenizer, turns, system=None):
    """-> (ids, labels); only answers and their end token are trained, the rest is -100"""
    ids, labels = [], []

    def add(text, train=False):
        e = tokenizer.encode(text)
        ids.extend(e)
        labels.extend(e if train else [-100] * len(e))

    if system:
        add(f"<|im_start|>system\n{system}<|im_end|>\n")
    for ask, answer in turns:
        add(f"<|im_start|>user\n{ask}<|im_end|>\n<|im_start|>assistant\n")
        add(f"{answer}<|im_end|>", True)
        add("\n")
    return ids, labels
