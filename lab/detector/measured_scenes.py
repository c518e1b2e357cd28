"""The scenes that the detector's accuracy is measured on: things in the cells of `layouts.place`, a little loose."""

import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../train"))
import layouts
import scenes
import words
from vocabulary import Vocabulary


def sample(
    rng: random.Random, vocabulary: Vocabulary, aspect: float = 1, task: str | None = None, style: str = "fluent"
) -> scenes.Scene:
    """A scene for pictures of this width / height. Objects never overlap and never vanish into their background."""
    task = task or rng.choices(list(scenes.TASKS), scenes.TASKS.values())[0]
    count = {"single": 1, "counting": rng.choices((2, 3, 4), (4, 3, 3))[0], "many": rng.choice((3, 4))}.get(task, 2)
    kinds = 1 if task in ("single", "counting") else count
    pairs = task == "many" and rng.random() < 0.4  # `two apples and a fox`
    if pairs:
        kinds = count - 1
    names = rng.sample(vocabulary.names, kinds)
    can = [name for name in vocabulary.names if scenes.can_recolour(vocabulary, name, style)]
    if task == "attribution":
        names = rng.sample(can, 2)
    chance = {"single": 0.35, "attribution": 1}.get(task, 0.15)
    colours = [rng.choice(list(scenes.COLOURS)) if name in can and rng.random() < chance else None for name in names]
    if task == "attribution":
        colours = rng.sample(list(scenes.COLOURS), 2)
    plain = list(scenes.BACKGROUNDS)
    background = rng.sample(plain, 2) if rng.random() < 0.12 else [rng.choice(plain)]
    if rng.random() < 0.25:
        background = ["white"]
    for name, colour in zip(names, colours, strict=True):  # something lost in its background teaches nothing
        if any(scenes.is_lost(vocabulary, name, colour, end, style) for end in background):
            return sample(rng, vocabulary, aspect, task, style)

    across = rng.random() < 0.5
    sizes = [
        rng.choices(
            (None, "small", "large"),
            (8, 1, 1) if task == "single" else (12, 1, 1) if task == "two" else (1, 0, 0),
        )[0]
        for _ in names
    ]
    of = [0, 0, *range(1, kinds)] if pairs else [0] * count if kinds == 1 else list(range(kinds))
    usual = (0.74, 0.86) if count == 1 else (0.78, 0.92)
    spans = {None: usual, "small": (0.3, 0.42) if count == 1 else (0.45, 0.58), "large": (0.88, 0.95)}
    things = []
    for cell, k in zip(layouts.place(count, aspect, across, rng), of, strict=True):
        x, y, side = layouts.settle(cell, *spans[sizes[k]], rng)
        things.append(scenes.Thing(names[k], x, y, side, colours[k], rng.random() < 0.3 and task != "counting"))

    def phrase(k: int, number: int = 1) -> str:
        colour = colours[k] or (
            scenes.natural_colour(vocabulary, names[k], style) if task == "single" and rng.random() < 0.2 else None
        )
        size = sizes[k] and rng.choice({"small": ["small", "tiny"], "large": ["large", "big"]}[sizes[k]])
        adjectives = [each for each in (size, colour) if each]
        noun = vocabulary.named(names[k], rng)
        if number > 1:
            return f"{rng.choice(words.COUNTS[number])} {' '.join([*adjectives, vocabulary.plural(noun)])}"
        bare = " ".join([*adjectives, noun])
        return words.article(bare) if number == 1 else bare

    if task == "single":
        text = phrase(0, 0 if rng.random() < 0.25 else 1)
    elif task == "counting":
        text = phrase(0, count)
    elif pairs:
        text = words.listing([phrase(0, 2), *(phrase(k) for k in range(1, kinds))])
    elif task == "many":
        text = words.listing([phrase(k) for k in range(kinds)])
    elif task == "position":
        text = rng.choice(
            words.LEFT if things[1].x - things[0].x > abs(things[1].y - things[0].y) else words.ABOVE
        ).format(phrase(0), phrase(1))
    else:
        text = rng.choice(words.SIDE_BY_SIDE).format(phrase(0), phrase(1))
        if rng.random() < 0.5:
            # who stands where is not said
            things = [
                scenes.Thing(b.name, a.x, a.y, b.side, b.colour, b.flip)
                for a, b in zip(things, reversed(things), strict=True)
            ]
    text = rng.choice(words.OPENINGS) + text
    if len(background) == 2:
        text += rng.choice(words.GRADED).format(*background)
    elif background[0] != "white" or rng.random() < 0.4:
        text += rng.choice(words.PLAIN).format(background[0], words.article(background[0]))
    return scenes.Scene(
        task, text, things, background, [rng.uniform(-6, 6) for _ in range(3)] if background != ["white"] else [0, 0, 0]
    )
