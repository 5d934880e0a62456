"""Sentences to read aloud: grammatical templates, open-vocabulary word lists, numbers, letters."""
from .everyday import everyday
from .words import (ADJECTIVES, DAYS, FUNCTION, MONTHS, NAMES, NOUNS, PLACES, VERBS, article,
                    capital, number)

_DETERMINERS = "the the a my your his her our their this that every no".split()


def noun_phrase(r, lex):
    """lex None: nouns only, otherwise now and then any common word in place of a noun"""
    noun = r.choice(lex.plain_common) if lex and r.random() < .3 else r.choice(NOUNS)
    phrase = (r.choice(ADJECTIVES) + " " if r.random() < .45 else "") + noun
    determiner = r.choice(_DETERMINERS)
    return article(phrase) if determiner == "a" else f"{determiner} {phrase}"


def sentence(r, lex):
    """A grammatical-looking sentence of 4 to 16 words, from fourteen patterns; with lex None all
    nouns are nouns."""
    def thing():
        return noun_phrase(r, lex)

    base, third_person, past = r.choice(VERBS)
    subject = r.choice(("I", "you", "we", "they"))
    third = r.choice(("he", "she", "it", r.choice(NAMES))) if r.random() < .5 else thing()
    tail = " " + r.choice(PLACES) if r.random() < .5 else ""
    pattern = r.randrange(14)
    if pattern == 0:
        text = f"{subject} {base} {thing()}{tail}."
    elif pattern == 1:
        text = f"{third} {third_person} {thing()}{tail}."
    elif pattern == 2:
        text = f"{third} {past} {thing()}{tail}."
    elif pattern == 3:
        text = f"{thing()} is {r.choice(ADJECTIVES)}{tail}."
    elif pattern == 4:
        text = f"{thing()} was {r.choice(ADJECTIVES)} and {r.choice(ADJECTIVES)}."
    elif pattern == 5:
        text = f"do {subject} {base} {thing()}{tail}?"
    elif pattern == 6:
        text = f"{r.choice(('where', 'when', 'why', 'how'))} did {third} {base} {thing()}?"
    elif pattern == 7:
        text = f"please {base} {thing()}{tail}."
    elif pattern == 8:
        text = (f"{third} {past} {thing()}, but {r.choice(('he', 'she', 'it'))} did not "
                f"{r.choice(VERBS)[0]} {thing()}.")
    elif pattern == 9:
        text = f"there {r.choice(('is', 'was'))} {thing()} {r.choice(PLACES)}."
    elif pattern == 10:
        text = f"{subject} will {base} {thing()}{tail}."
    elif pattern == 11:
        text = (f"if {subject} {base} {thing()}, {r.choice(('he', 'she'))} "
                f"{r.choice(VERBS)[1]} {thing()}.")
    elif pattern == 12:
        text = (f"{r.choice(NAMES)} and {r.choice(NAMES)} {past} {number(r.randrange(2, 100))} "
                f"{r.choice(NOUNS)}s{tail}.")
    else:
        text = f"can {subject} {base} {thing()} {r.choice(PLACES)}?"
    return capital(text)


def word_list(r, lex, low=1, high=9):
    """Random words without grammar: every word of the lexicon comes up sooner or later."""
    out = []
    for _ in range(r.randint(low, high)):
        x = r.random()
        if x < .25:
            out.append(r.choice(FUNCTION))
        elif x < .50:
            out.append(r.choice(lex.common))
        elif x < .70:
            out.append(r.choice(lex.frequent))
        elif x < .92:
            out.append(r.choice(lex.usual))
        else:
            out.append(r.choice(lex.rare))
        if r.random() < .05:
            out[-1] += ","
    text = " ".join(out).rstrip(",")
    return capital(text) + r.choice("...?!") if r.random() < .7 else text


def numbers(r):
    def small():
        return r.randrange(0, 10 ** r.randint(1, 3))

    k = r.randrange(8)
    if k == 0:
        return " ".join(str(small()) for _ in range(r.randint(1, 4)))
    if k == 1:
        return capital(", ".join(number(small()) for _ in range(r.randint(1, 4)))) + "."
    if k == 2:
        return f"The answer is {r.randrange(1000)}."
    if k == 3:
        return f"{capital(number(r.randrange(1000)))} {r.choice(NOUNS)}s."
    if k == 4:
        return f"It is {r.randint(1, 12)} o'clock."
    if k == 5:
        return f"{r.randrange(100)} plus {r.randrange(100)} is {r.randrange(200)}."
    if k == 6:
        return f"In {r.randint(1900, 2050)}."
    return f"{r.choice(DAYS)}, {r.choice(MONTHS)} {r.randint(1, 31)}."


def spelled(word):
    """cat -> C, A, T."""
    return ", ".join(c.upper() for c in word if c.isalpha()) + "."


def any_word(r, lex):
    x = r.random()
    return r.choice(lex.plain_common if x < .5 else lex.plain_frequent if x < .8 else lex.usual)


def reading_text(r, lex):
    """One utterance of the reading-aloud corpus."""
    x = r.random()
    if x < .32:
        return word_list(r, lex)
    if x < .55:
        return everyday(r)
    if x < .80:
        return sentence(r, lex if r.random() < .5 else None)
    if x < .86:
        return numbers(r)
    if x < .90:
        return spelled(any_word(r, lex))
    return sentence(r, lex) + " " + (everyday(r) if r.random() < .5 else sentence(r, lex))
