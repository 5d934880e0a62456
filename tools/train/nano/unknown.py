"""Requests outside the skills, which get one honest answer."""
from .sentences import sentence
from .words import NAMES, NOUNS, capital, number

UNKNOWN = "I cannot help with that. I am only a tiny model."

_COUNTRIES = ("Mongolia Nepal Iceland Chad Laos Bolivia Ghana Samoa Latvia Estonia Serbia Uganda "
              "Zambia Oman Qatar Panama Jamaica Fiji Tonga Malta").split()
_TOPICS = ("politics football cooking chess history music physics biology gardening economics "
           "medicine law art travel cars computers poetry religion war love space weather money "
           "school health sleep sport fashion film philosophy").split()
_LANGUAGES = "French German Spanish Chinese Latin Greek Russian Japanese Italian Dutch".split()

# {n}: common noun, {w}: any word, {p}: name, {t}: topic, {l}: language, {c}: country, {k}: number
FORMS = """
Who is {p} {W}?|What is the {w} of the {n}?|Why does the {n} {w}?|Explain the {n}.
Explain {t} to me.|How do I {w} a {n}?|What happened to the {n}?|Write a {n} about {w}.
Write a poem about {t}.|Write a story about a {n}.|Write a letter to {p}.
What do you think about {t}?|Who invented the {n}?|Where is {W}?|When did the {n} {w}?
Translate {w} into {l}.|Can you {w} the {n}?|What is the capital of {c}?
How far is it to {c}?|How many people live in {c}?|Who is the president of {c}?
Play some music.|Turn on the light.|Turn off the {n}.|Set a timer for {k} minutes.
Call {p}.|Send a message to {p}.|Book a table for {k}.|What is the square root of {k}?
Solve this equation.|What is the meaning of life?|Give me a recipe for {w}.
What should I eat tonight?|Plan a trip to {c}.|How much does a {n} cost?
Where can I buy a {n}?|Write a program in python.|Fix my code.|Summarize this text.
Tell me the news.|What is the price of gold?|Who won the {n} in {y}?|What happened in {y}?
Draw a {n}.|Show me a picture of a {n}.|Recommend a book about {t}.|Do you believe in {t}?
What is your favorite {n}?|Can I trust {p}?|What is {w}?|Define {w}.|What does {w} mean?
Use {w} in a sentence.|How does a {n} work?|Why is the {n} so {w}?|Compare a {n} and a {n}.
What rhymes with {w}?|Is {p} taller than {p}?|Should I {w} my {n}?|How can I learn {l}?
How do you say {w} in {l}?|Remind me to {w}.|Open the {n}.|Search for {w}.
Find a {n} near me.|What is {k} to the power of {k}?|What year was {p} born?|Who wrote {W}?
""".strip().replace("\n", "|").split("|")
# Only the evaluation uses these.
HELD_OUT_FORMS = """
Give me advice about {t}.|Who discovered {w}?|What is the best {n} in {c}?
Make a list of {n}s.|Convert {k} miles to feet.|How old is {p}?|Order a {n} for me.
What is the population of {c}?|Describe the history of {c}.|Why do people like {t}?
Which {n} is better?|Help me write a {n}.|What are the rules of {t}?|Can you drive a {n}?
Rewrite this in {l}.|What time does the {n} open?
""".strip().replace("\n", "|").split("|")


def fill(form, r, lex):
    def word():
        return r.choice(lex.plain_frequent if r.random() < .6 else lex.usual)

    makers = {"{n}": lambda: r.choice(NOUNS), "{w}": word, "{W}": lambda: capital(word()),
              "{p}": lambda: r.choice(NAMES), "{t}": lambda: r.choice(_TOPICS),
              "{l}": lambda: r.choice(_LANGUAGES), "{c}": lambda: r.choice(_COUNTRIES),
              "{k}": lambda: (number if r.random() < .5 else str)(r.randint(2, 99)),
              "{y}": lambda: str(r.randint(1500, 2020))}
    for slot, make in makers.items():
        while slot in form:
            form = form.replace(slot, make(), 1)
    return form


def unknown(r, lex, held_out=False):
    if held_out:
        return fill(r.choice(HELD_OUT_FORMS), r, lex)
    # a bare sentence asks for nothing the model can do
    return sentence(r, lex) if r.random() < .2 else fill(r.choice(FORMS), r, lex)
