"""Text skills: every generator returns (question, answer)."""
from .facts import (BABIES, CAPITALS, FACTS, GREETINGS, IDENTITY, LEGS, MONTH_DAYS, OPPOSITES,
                    PAST, PLURAL, SEASON, SOUNDS, THING_COLOUR)
from .everyday import everyday
from .sentences import any_word, numbers, sentence, spelled, word_list
from .unknown import UNKNOWN, unknown
from .words import DAYS, MONTHS, article, capital, number


def say(r, lex):
    """Read something aloud, word by word as it stands."""
    x = r.random()
    text = (word_list(r, lex, 1, 8) if x < .40 else everyday(r) if x < .62 else
            sentence(r, lex) if x < .92 else numbers(r))
    ask = r.choice(("Say: {}", "Say: {}", "say: {}", "Say {}", "Repeat after me: {}",
                    "Repeat: {}", "Please say: {}", "Read this aloud: {}", "Read aloud: {}",
                    "Can you say: {}", 'Say "{}"', "Say the following: {}"))
    return ask.format(text), text


def arithmetic(r, lex):
    words = r.random() < .5
    op = r.choice(("plus", "plus", "minus", "times", "divided by"))
    if op == "plus":
        high = r.choice((10, 20, 50, 100))
        a, b = r.randrange(high + 1), r.randrange(high + 1)
        c = a + b
    elif op == "minus":
        a = r.randrange(r.choice((10, 20, 50, 100)) + 1)
        b = r.randrange(a + 1)
        c = a - b
    elif op == "times":
        a, b = r.randrange(13), r.randrange(13)
        c = a * b
    else:
        b, c = r.randrange(1, 13), r.randrange(13)
        a = b * c
    show = number if words else str
    term = f"{show(a)} {op} {show(b)}"
    ask = r.choice((f"What is {term}?", f"What is {term}?", f"How much is {term}?",
                    f"{capital(term)}?", f"Calculate {term}."))
    if not words and r.random() < .5:
        sign = {"plus": "+", "minus": "-", "times": r.choice("x*"), "divided by": "/"}[op]
        ask = r.choice((f"{a} {sign} {b}", f"{a}{sign}{b}", f"{a} {sign} {b} = ?",
                        f"What is {a} {sign} {b}?"))
    return ask, f"{capital(term)} is {show(c)}."


def spell(r, lex):
    word = any_word(r, lex)
    return r.choice((f"Spell {word}.", f"Spell the word {word}.", f"How do you spell {word}?",
                     f"Can you spell {word}?")), spelled(word)


def calendar(r, lex):
    k = r.randrange(6)
    names, kind = ((DAYS, "day"), (MONTHS, "month"))[r.randrange(2)]
    i = r.randrange(len(names))
    if k < 2:
        ask = (f"What {kind} comes after {names[i]}?", f"Which {kind} comes after {names[i]}?",
               f"What is the {kind} after {names[i]}?")
        return r.choice(ask), f"{names[(i + 1) % len(names)]} comes after {names[i]}."
    if k < 4:
        ask = (f"What {kind} comes before {names[i]}?", f"Which {kind} comes before {names[i]}?",
               f"What is the {kind} before {names[i]}?")
        return r.choice(ask), f"{names[i - 1]} comes before {names[i]}."
    month = r.choice(MONTHS)
    if k == 4:
        ask = (f"How many days are in {month}?", f"How many days does {month} have?")
        return r.choice(ask), f"{month} has {number(MONTH_DAYS[month])} days."
    return f"What season is {month} in?", f"{month} is in {SEASON[month]}."


def counting(r, lex):
    k = r.randrange(5)
    if k == 0:
        n = r.randint(2, 12)
        return (f"Count to {number(n) if r.random() < .7 else n}.",
                capital(", ".join(number(i) for i in range(1, n + 1))) + ".")
    if k == 1:
        a = r.randint(0, 15)
        b = a + r.randint(2, 6)
        return (f"Count from {number(a)} to {number(b)}.",
                capital(", ".join(number(i) for i in range(a, b + 1))) + ".")
    if k == 2:
        n = r.randint(2, 10)
        return (f"Count down from {number(n)}.",
                capital(", ".join(number(i) for i in range(n, -1, -1))) + ".")
    a, b = r.sample(range(100), 2)
    show = number if r.random() < .5 else str
    word, first, second = (("bigger", max, min), ("smaller", min, max))[k - 3]
    return (f"Which is {word}, {show(a)} or {show(b)}?",
            f"{capital(show(first(a, b)))} is {word} than {show(second(a, b))}.")


def letters(r, lex):
    word = r.choice(lex.plain_common)
    k = r.randrange(4)
    if k == 0:
        return (f"How many letters are in the word {word}?",
                f"The word {word} has {number(len(word))} letters.")
    if k == 1:
        return (f"What is the first letter of {word}?",
                f"The first letter of {word} is {word[0].upper()}.")
    if k == 2:
        return (f"What is the last letter of {word}?",
                f"The last letter of {word} is {word[-1].upper()}.")
    i = r.randrange(25)
    return f"What letter comes after {chr(65 + i)}?", f"{chr(66 + i)} comes after {chr(65 + i)}."


def opposite(r, lex):
    a, b = r.choice(OPPOSITES)
    # a word that stands in two pairs is only asked for from its partner's side
    if r.random() < .5 and sum(b in pair for pair in OPPOSITES) == 1:
        a, b = b, a
    elif sum(a in pair for pair in OPPOSITES) > 1:
        a, b = "big", "small"
    return r.choice((f"What is the opposite of {a}?", f"Tell me the opposite of {a}.",
                     f"Opposite of {a}?")), f"The opposite of {a} is {b}."


def table(r, lex):
    k = r.randrange(8)
    if k < 2:
        c = r.choice(list(CAPITALS))
        return r.choice((f"What is the capital of {c}?", f"Which city is the capital of {c}?",
                         f"Tell me the capital of {c}.")), f"The capital of {c} is {CAPITALS[c]}."
    if k == 2:
        a = r.choice(list(SOUNDS))
        ask = (f"What does {article(a)} say?", f"What sound does {article(a)} make?")
        return r.choice(ask), f"{capital(article(a))} says {SOUNDS[a]}."
    if k == 3:
        a = r.choice(list(BABIES))
        ask = (f"What is a baby {a} called?", f"What do you call a baby {a}?")
        return r.choice(ask), f"A baby {a} is called {article(BABIES[a])}."
    if k == 4:
        t = r.choice(list(THING_COLOUR))
        return f"What color is {t}?", f"{capital(t)} is {THING_COLOUR[t]}."
    if k == 5:
        a = r.choice(list(LEGS))
        return (f"How many legs does {article(a)} have?",
                f"{capital(article(a))} has {number(LEGS[a]) if LEGS[a] else 'no'} legs.")
    if k == 6:
        w = r.choice(list(PLURAL))
        return (r.choice((f"What is the plural of {w}?", f"Plural of {w}?")),
                f"The plural of {w} is {PLURAL[w]}.")
    w = r.choice(list(PAST))
    return (r.choice((f"What is the past tense of {w}?", f"Past tense of {w}?")),
            f"The past tense of {w} is {PAST[w]}.")


def _listed(entries):
    def pick(r, lex):
        asks, answer = r.choice(entries)
        return r.choice(asks), answer
    return pick


# name -> (share of the training questions, generator)
SKILLS = {"say": (.22, say), "arithmetic": (.20, arithmetic), "spelling": (.09, spell),
          "calendar": (.06, calendar), "counting": (.06, counting), "letters": (.04, letters),
          "opposites": (.05, opposite), "tables": (.07, table), "facts": (.06, _listed(FACTS)),
          "identity": (.03, _listed(IDENTITY)), "small talk": (.03, _listed(GREETINGS)),
          "unknown": (.09, lambda r, lex: (unknown(r, lex), UNKNOWN))}
_NAMES = list(SKILLS)
_SHARES = [SKILLS[n][0] for n in _NAMES]


def question(r, lex, leave_out=()):
    """-> (skill, question, answer)"""
    while True:
        name = r.choices(_NAMES, _SHARES)[0]
        if name not in leave_out:
            return (name, *SKILLS[name][1](r, lex))


def vary(r, ask):
    """Spelling, case, punctuation and politeness of a typed question."""
    keep = ask.lower().startswith(("say", "repeat", "read", "please", "can you"))
    if "olor" in ask and not keep and r.random() < .5:
        ask = ask.replace("color", "colour").replace("Color", "Colour")
    x = r.random()
    if x < .10:
        ask = ask[:1].lower() + ask[1:]
    elif x < .16 and not keep:
        ask = ask.lower()
    if r.random() < .15 and ask[-1:] in "?.!" and not keep:
        ask = ask[:-1]
    if r.random() < .05 and ask[:1].isupper() and not keep:
        ask = r.choice(("Please tell me, ", "Nano, ", "Hey, ", "Hello, ", "Hi, ")) + \
            ask[0].lower() + ask[1:]
    return ask


def spoken_question(r, lex):
    """A question without symbols or quotes, short enough to be heard: (skill, question, answer)"""
    while True:
        name, ask, answer = question(r, lex)
        if any(c in ask for c in '+=*/"') or " x " in ask or len(ask) > 70 or "following" in ask:
            continue
        if any(c.isdigit() for c in ask) and "-" in ask:
            continue
        return name, ask, answer
