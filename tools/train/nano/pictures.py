"""Drawn pictures of one to three coloured shapes, and questions about them."""
import math

import numpy as np
from PIL import Image, ImageDraw

from .config import IMAGE_SIDE
from .words import article, number

COLOURS = {"red": (220, 30, 30), "green": (30, 160, 50), "blue": (40, 70, 220),
           "yellow": (240, 215, 40), "orange": (245, 140, 20), "purple": (140, 50, 170),
           "black": (20, 20, 20), "white": (250, 250, 250)}
SHAPES = ("circle", "square", "triangle", "star")
GROUNDS = {"white": (255, 255, 255), "black": (0, 0, 0), "gray": (128, 128, 128),
           "cream": (245, 235, 205)}
DESCRIBE = ["Describe the image.", "Describe this picture.", "What do you see?",
            "What is in the image?", "What is in this picture?", "What is shown here?",
            "What can you see in this image?", "Describe this image.", "What is this?",
            "Describe the picture.", "Describe what you see."]


def scene(r):
    """-> ([(shape, colour, x, y, size), ...] in unit coordinates, ground)

    No two shapes overlap or are alike, and with two shapes it is clear whether they stand beside
    or above each other."""
    n = r.choice((1, 1, 2, 2, 2, 3, 3))
    ground = r.choice(("white", "white", "black", "gray", "cream"))
    colours = [c for c in COLOURS if c != ground and not (c == "white" and ground == "cream")]
    objects, tries = [], 0
    while len(objects) < n:
        tries += 1
        if tries > 300:
            objects, tries = [], 0
        s = r.uniform(.22, .36) if n > 1 else r.uniform(.25, .6)
        x, y = (r.uniform(s / 2 + .02, 1 - s / 2 - .02) for _ in range(2))
        if any(max(abs(x - o[2]), abs(y - o[3])) < (s + o[4]) / 2 + .05 for o in objects):
            continue
        if n == 2 and objects and abs(abs(x - objects[0][2]) - abs(y - objects[0][3])) < .12:
            continue
        if n == 3 and any(abs(x - o[2]) < .07 for o in objects):
            continue
        kind = (r.choice(SHAPES), r.choice(colours))
        if any(kind == o[:2] for o in objects):
            continue
        objects.append((*kind, x, y, s))
    return objects, ground


def draw(r, objects, ground, side=IMAGE_SIDE):
    """-> PIL image, side x side; colours vary a little, drawn larger and scaled down"""
    big = side * 2
    image = Image.new("RGB", (big, big), GROUNDS[ground])
    pen = ImageDraw.Draw(image)
    for shape, colour, x, y, s in objects:
        fill = tuple(max(0, min(255, c + r.randint(-12, 12))) for c in COLOURS[colour])
        x, y, h = x * big, y * big, s * big / 2
        box = [x - h, y - h, x + h, y + h]
        if shape == "circle":
            pen.ellipse(box, fill=fill)
        elif shape == "square":
            pen.rectangle(box, fill=fill)
        else:
            corners = 3 if shape == "triangle" else 10
            points = []
            for i in range(corners):
                angle = -math.pi / 2 + 2 * math.pi * i / corners
                radius = h if corners == 3 or i % 2 == 0 else h * .42
                points.append((x + radius * math.cos(angle), y + radius * math.sin(angle)))
            pen.polygon(points, fill=fill)
    return image.resize((side, side), Image.BICUBIC)


def pixels(image):
    """PIL image -> uint8 [side, side, 3]"""
    return np.asarray(image)


def _relation(objects):
    """Two shapes -> (first, second, words between them)"""
    (_, _, x0, y0, _), (_, _, x1, y1, _) = objects
    if abs(x0 - x1) > abs(y0 - y1):
        return (*(objects if x0 < x1 else objects[::-1]), "to the left of")
    return (*(objects if y0 < y1 else objects[::-1]), "above")


def _name(o):
    return f"{o[1]} {o[0]}"


def describe(r, objects):
    ask = r.choice(DESCRIBE)
    if len(objects) == 1:
        return ask, f"There is {article(_name(objects[0]))}."
    if len(objects) == 2:
        a, b, words = _relation(objects)
        return ask, f"There is {article(_name(a))} {words} {article(_name(b))}."
    a, b, c = (article(_name(o)) for o in sorted(objects, key=lambda o: o[2]))
    return ask, f"From left to right there are {a}, {b} and {c}."


def place_question(r, objects):
    """Asks for a shape by where it stands, or None where that is not clear."""
    if len(objects) == 2:
        a, b, words = _relation(objects)
        i = r.randrange(2)
        where = (("left", "right") if "left" in words else ("top", "bottom"))[i]
        o = (a, b)[i]
    elif len(objects) == 3:
        i = r.randrange(3)
        where = ("left", "middle", "right")[i]
        o = sorted(objects, key=lambda o: o[2])[i]
    else:
        return None
    if r.random() < .5:
        return f"What color is the {where} one?", f"The {where} one is {o[1]}."
    return f"What shape is the {where} one?", f"The {where} one is {article(o[0])}."


def detail(r, objects):
    """A question about one detail."""
    def lonely(i):
        return [o for o in objects if sum(p[i] == o[i] for p in objects) == 1]

    k = r.randrange(5)
    place = place_question(r, objects)
    if k == 0 and place:
        return place
    if k == 1:
        n = len(objects)
        return (r.choice(("How many shapes are there?", "How many shapes do you see?",
                          "Count the shapes.")),
                "There is one shape." if n == 1 else f"There are {number(n)} shapes.")
    if k == 2 and lonely(0):
        o = r.choice(lonely(0))
        return (r.choice((f"What color is the {o[0]}?", f"Which color is the {o[0]}?")),
                f"The {o[0]} is {o[1]}.")
    if k == 3 and lonely(1):
        o = r.choice(lonely(1))
        return (r.choice((f"What shape is {o[1]}?", f"Which shape is {o[1]}?")),
                f"The {o[0]} is {o[1]}.")
    shape = r.choice(SHAPES)
    hits = [o for o in objects if o[0] == shape]
    ask = r.choice((f"Is there a {shape}?", f"Is there a {shape} in the image?",
                    f"Do you see a {shape}?"))
    if not hits:
        return ask, f"No, there is no {shape}."
    if len(hits) == 1:
        return ask, f"Yes, there is {article(hits[0][1])} {shape}."
    return ask, f"Yes, there are {number(len(hits))} {shape}s."


def turns(r, objects):
    """One or two turns about the picture: (tag, [(question, answer), ...])"""
    if r.random() < .25 and len(objects) > 1:
        place = place_question(r, objects)
        ask = place[0]
        follow = r.choice((ask, "And " + ask[0].lower() + ask[1:]))
        return "picture, two turns", [describe(r, objects), (follow, place[1])]
    return "picture", [describe(r, objects) if r.random() < .5 else detail(r, objects)]
