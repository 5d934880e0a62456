"""Word lists: numbers, calendar, common words, and the large lexicon for open vocabulary."""
import os

ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen").split()
TENS = "x x twenty thirty forty fifty sixty seventy eighty ninety".split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = ("January February March April May June July August September October November "
          "December").split()
FUNCTION = (
    "the a an and or but of to in on at by for with from as is was are were be been it he she "
    "they we you I this that these those his her their our my your its not no so if then when "
    "where how what who which there here have has had do does did will would can could should may "
    "might must about into over under after before between through during against all some any "
    "every each many much more most very just only also too").split()
NOUNS = (
    "time year people way day man thing woman life child world school state family student group "
    "country problem hand part place case week company system program question work government "
    "number night point home water room mother area money story fact month lot right study book "
    "eye job word business issue side kind head house service friend father power hour game line "
    "end member law car city name president team minute idea kid body information back parent "
    "face others level office door health person art war history party result change morning "
    "reason research girl guy moment air teacher force education dog cat horse bird tree river "
    "mountain sea sun moon star cloud rain snow wind fire stone road bridge train bus ship plane "
    "garden flower apple bread milk coffee tea table chair window wall floor roof kitchen bed box "
    "bag cup plate knife bottle letter paper pencil picture song music dance color shape voice "
    "sound noise silence doctor nurse farmer driver singer writer king queen soldier village town "
    "island forest field beach lake computer phone radio machine engine wheel key lock clock "
    "watch ring coat hat shoe shirt dress button pocket glass mirror lamp candle market shop "
    "price ticket").split()
ADJECTIVES = (
    "good new first last long great little own other old right big high different small large "
    "next early young important few public bad same able red blue green yellow white black brown "
    "happy sad angry quiet loud quick slow warm cold hot wet dry clean dirty heavy light dark "
    "bright soft hard sweet bitter fresh empty full open strange simple clever brave gentle tired "
    "hungry thirsty lucky lonely silver golden wooden broken hidden").split()
NAMES = (
    "John Mary Peter Anna Tom Lucy David Sarah Paul Emma James Laura Robert Linda Michael Susan "
    "William Karen Richard Nancy Thomas Lisa George Helen Jack Alice Henry Julia Sam Kate").split()
_VERBS = (
    "see/sees/saw take/takes/took want/wants/wanted find/finds/found give/gives/gave "
    "use/uses/used ask/asks/asked need/needs/needed keep/keeps/kept hold/holds/held "
    "bring/brings/brought write/writes/wrote like/likes/liked love/loves/loved "
    "carry/carries/carried follow/follows/followed watch/watches/watched move/moves/moved "
    "buy/buys/bought sell/sells/sold open/opens/opened close/closes/closed break/breaks/broke "
    "build/builds/built clean/cleans/cleaned paint/paints/painted draw/draws/drew read/reads/read "
    "hear/hears/heard know/knows/knew remember/remembers/remembered forget/forgets/forgot "
    "help/helps/helped visit/visits/visited lose/loses/lost catch/catches/caught "
    "throw/throws/threw push/pushes/pushed pull/pulls/pulled cook/cooks/cooked").split()
VERBS = [tuple(v.split("/")) for v in _VERBS]          # base, third person, past
PLACES = (
    "at home, in the garden, near the river, on the table, by the window, at the station, in the "
    "city, under the tree, behind the house, on the hill, in the morning, at night, in the "
    "evening, after lunch, before dinner, last week, next month, on Monday, every day, in the "
    "summer, at school, at the office, in the kitchen, on the road, across the street, all day "
    "long, for a long time, once a week, in the middle of the night").split(", ")


def number(n):
    """An integer below a million in English words."""
    if n < 0:
        return "minus " + number(-n)
    if n < 20:
        return ONES[n]
    if n < 100:
        return TENS[n // 10] + ("-" + ONES[n % 10] if n % 10 else "")
    if n < 1000:
        return ONES[n // 100] + " hundred" + (" and " + number(n % 100) if n % 100 else "")
    return number(n // 1000) + " thousand" + (" " + number(n % 1000) if n % 1000 else "")


def capital(s):
    return s[:1].upper() + s[1:]


def article(word):
    return ("an " if word[:1].lower() in "aeiou" else "a ") + word


class Lexicon:
    """English words by commonness, from the word lists of Debian's package scowl."""

    def __init__(self, folder="/usr/share/dict/scowl"):
        def load(*levels):
            out = []
            for level in levels:
                for kind in ("english", "american"):
                    with open(os.path.join(folder, f"{kind}-words.{level}"),
                              encoding="latin-1") as f:
                        out += [w.strip() for w in f]
            return [w for w in out
                    if w.replace("'", "").isalpha() and w.isascii() and 1 <= len(w) < 16]

        def plain(words):
            return [w for w in words if "'" not in w]

        self.common, self.frequent = load(10), load(20)
        self.usual, self.rare = plain(load(35)), plain(load(40, 50))
        self.plain_common = [w for w in plain(self.common) if len(w) > 1]
        self.plain_frequent = [w for w in plain(self.frequent) if len(w) > 1]
