"""Everyday sentences whose words go together, filled from small classes."""

_CLASSES = {
    "who": "my brother|my sister|the teacher|the old man|the young woman|our neighbor|the doctor|"
           "his father|her mother|the farmer|the driver|a good friend|the children|the students|"
           "John|Mary|Peter|Anna|David|Sarah|Michael|Susan|my uncle|my aunt|the captain",
    "where": "the station|the market|the school|the hospital|the library|the beach|the church|"
             "the office|the airport|the park|the museum|the river|the village|the city|the farm|"
             "the restaurant|the hotel|the bridge|the garden|the kitchen",
    "when": "yesterday|today|this morning|last night|last week|on Sunday|on Friday afternoon|"
            "in the evening|before dinner|after lunch|every day|at noon|two weeks ago|"
            "at the end of the month|early in the morning|during the summer",
    "went": "walked|drove|went|ran|came back|returned|rode a bicycle|took the bus",
    "thing": "a red car|a new book|a warm coat|a pair of shoes|a big house|a wooden table|"
             "an old clock|a small boat|a cheap watch|a bottle of milk|a loaf of bread|"
             "a bag of apples|some fresh fish|a box of matches|a letter|a newspaper|a blue shirt",
    "deal": "bought|sold|found|lost|carried|wanted|brought|forgot|needed|looked for",
    "food": "bread and butter|chicken soup|fried eggs|rice and beans|apple pie|cheese|fresh fruit|"
            "a sandwich|hot chocolate|orange juice|black coffee|green tea|a glass of water|"
            "a bowl of soup|roast beef|potatoes",
    "weather": "cold and wet|warm and sunny|very hot|cloudy|windy|clear and dry|foggy",
    "feel": "happy|tired|hungry|thirsty|angry|sad|afraid|proud|surprised|ready|sick|lonely",
    "animal": "the dog|the cat|the white horse|a brown cow|a small bird|the gray mouse|the fox|"
              "a flock of sheep|the lion|an elephant",
    "moves": "slept under the tree|ran across the field|jumped over the fence|drank from the river|"
             "stood near the gate|hid behind the wall|ate the grass|followed the boy home|"
             "looked at the moon|made a lot of noise",
    "did": "read a long story|wrote a letter to the president|played the piano|sang a happy song|"
           "painted the kitchen wall|cleaned the windows|cooked dinner for the family|"
           "fixed the broken door|planted flowers in the garden|washed the dishes|"
           "watched the game|listened to the radio|learned to swim|told us the truth|"
           "opened the window|closed the door|waited for the train|answered the phone",
    "why": "because it was late|because it started to rain|after a long day|without a word|"
           "with great care|as fast as possible|for the first time|with a smile|once again|"
           "before the sun went down|while the others were asleep",
    "n": "two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|thirty|fifty|one hundred",
    "many": "people|children|houses|miles|dollars|hours|days|years|books|chairs|trees|birds"}
_CLASSES = {k: v.split("|") for k, v in _CLASSES.items()}
_FORMS = """{who} {went} to {where} {when}.|{who} {deal} {thing} {when}.|{who} {did} {why}.
{who} {did} {when}.|the weather was {weather} {when}.|it was {weather} {when}.
{animal} {moves}.|{animal} {moves} {when}.|I would like {food}, please.
we had {food} for breakfast {when}.|{who} and {who} {went} to {where}.
{who} was {feel} {when}.|{who} was very {feel} and {went} home.|there are {n} {many} in {where}.
it takes {n} hours to get to {where}.|where did you put {thing}?|did {who} call you {when}?
how do I get to {where}?|please bring me {thing}.|can you help {who} {when}?
we waited for {n} hours at {where}.|I think that {who} is {feel}.|{who} said that it was {weather}.
do you want {food} or {food}?|{who} has {n} {many} and {n} {many}.|let us meet at {where} {when}.
I have never been so {feel} in my life.|{who} left {thing} at {where} {when}.
if the weather is {weather}, we will stay at home.|{who} lives near {where}.
the train leaves at {n} o'clock {when}.|{who} paid {n} dollars for {thing}.
this is the first time that {who} {went} to {where}.|{animal} and {animal} are friends.
when {who} came home, {who} was {feel}.|nobody knows where {who} {deal} {thing}.""".replace(
    "\n", "|").split("|")


def everyday(r):
    text = r.choice(_FORMS)
    for name, values in _CLASSES.items():
        while "{" + name + "}" in text:
            text = text.replace("{" + name + "}", r.choice(values), 1)
    return text[0].upper() + text[1:]
