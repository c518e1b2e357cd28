"""The evaluation's prompts: python lab/eval/make_prompts.py writes prompts.json beside itself, the same every time.

Six tasks of 44. Every prompt of two objects, counting, background and position asks for a combination that training
never shows; single objects are all seen. One of attribution asks for a colour the object is never given in training; in
six the object has nearly that colour as it is, so training shows it: a red heart, a green cactus and a red balloon, of
which captions say it too (`scenes.natural_colour`), a green turtle (twice) and an orange cat. There are fewer held-out
counts than prompts (15), and few held-out things on some backgrounds, so those come again in other words and with
another seed.
"""

import json
import os
import random
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../train"))
import scenes
import words

HERE = os.path.dirname(os.path.abspath(__file__))
EACH = 44
COUNT_WORDS = ["{word} {many}", "{number} {many}", "a picture of {word} {many}"]

BACKGROUND_WORDS = [" on {1} background", " against {1} background", " with {1} background", " on {0}"]


def is_lost(name: str, colour: str | None, background: str) -> bool:
    """As `scenes.sample` has it: its main colour is nearly the background's."""
    return np.square(scenes.main_rgb(name, colour) - scenes.BACKGROUNDS[background]).sum() < 75**2


def entries() -> list[dict]:
    rng, found = random.Random(3), []
    a = words.article
    visible = [name for name in scenes.NAMES if not is_lost(name, None, "white")]

    def add(task: str, text: str, names: list[str], **expect) -> None:
        number = sum(each["task"] == task for each in found)
        found.append(
            {
                "id": f"{task}-{number:02}",
                "task": task,
                "prompt": text,
                "seed": rng.randrange(2**31),
                "names": names,
                "expect": {"objects": [], **expect},
            }
        )

    for name in rng.sample(visible, EACH):
        add("single", a(name), [name], objects=[{"name": name}])

    pairs = [tuple(rng.sample((x, y), 2)) for x in visible for y in visible if x < y and scenes.is_held("pair", x, y)]
    rng.shuffle(pairs)
    for x, y in pairs[:EACH]:
        add("two", f"{a(x)} and {a(y)}", [x, y], objects=[{"name": x}, {"name": y}])

    counts = [(name, n) for name in visible for n in (2, 3, 4) if scenes.is_held("count", name, n)]
    rng.shuffle(counts)
    for k in range(EACH):
        name, n = counts[k % len(counts)]
        text = COUNT_WORDS[k // len(counts)].format(word=words.COUNTS[n][0], number=n, many=words.plural(name))
        add("counting", text, [name], objects=[{"name": name, "count": n}])

    for colour in scenes.BACKGROUNDS:
        fitting = [
            name
            for name in scenes.NAMES
            if scenes.is_held("background", name, colour) and not is_lost(name, None, colour)
        ]
        rng.shuffle(fitting)
        for k in range(EACH // 11):
            name = fitting[k % len(fitting)]
            add(
                "background",
                a(name) + BACKGROUND_WORDS[k // len(fitting)].format(colour, a(colour)),
                [name],
                background=[colour],
            )

    for k, (x, y) in enumerate(pairs[EACH : 2 * EACH]):
        relation, phrase = [
            ("left", words.LEFT[0]),
            ("above", words.ABOVE[0]),
            ("left", words.LEFT[2]),
            ("above", words.ABOVE[2]),
        ][k % 4]
        add("position", phrase.format(a(x), a(y)), [x, y], objects=[{"name": x}, {"name": y}], relation=relation)

    can = [name for name in scenes.NAMES if scenes.can_recolour(name)]
    kept = [
        (name, colour)
        for name in can
        for colour in scenes.COLOURS
        if scenes.is_held("colour", name, colour) and not is_lost(name, colour, "white")
    ]
    rng.shuffle(kept)
    for k in range(EACH):
        name, colour = kept[k % len(kept)]
        while True:
            other, hue = rng.choice(can), rng.choice(list(scenes.COLOURS))
            if other != name and hue != colour and not is_lost(other, hue, "white"):
                break
        both = rng.sample([(name, colour), (other, hue)], 2)
        add(
            "attribution",
            " and ".join(a(f"{c} {n}") for n, c in both),
            [n for n, _ in both],
            objects=[{"name": n, "colour": c} for n, c in both],
        )
    return found


def scene_of(entry: dict, rng: random.Random) -> scenes.Scene:
    """A square scene as the prompt asks for, laid out as in the training of the embedded model: not free. To measure a
    model of the gpu recipe, whose scenes are free, lay these out free as `scenes.sample` does and compute the Fréchet
    reference anew (`detector/train.py --only measure`).
    """
    expect, names = entry["expect"], entry["names"]
    colours = [each.get("colour") for each in expect["objects"]] or [None] * len(names)
    if entry["task"] == "counting":
        names, colours = (each * expect["objects"][0]["count"] for each in (names, colours))
    across = {"left": True, "above": False}.get(expect.get("relation"), rng.random() < 0.5)
    spots = [scenes.settle(cell, *scenes.FIXED, rng) for cell in scenes.place(len(names), 1, across, rng)]
    if entry["task"] in ("two", "attribution"):
        rng.shuffle(spots)
    background = expect.get("background", ["white"])
    things = [
        scenes.Thing(name, x, y, side, colour, False)
        for name, colour, (x, y, side) in zip(names, colours, spots, strict=True)
    ]
    return scenes.Scene(
        entry["task"],
        entry["prompt"],
        things,
        background,
        [rng.uniform(-6, 6) for _ in range(3)] if background != ["white"] else [0, 0, 0],
    )


def main():
    with open(os.path.join(HERE, "prompts.json"), "w") as file:
        file.write("[\n" + ",\n".join(f"  {json.dumps(each)}" for each in entries()) + "\n]\n")


if __name__ == "__main__":
    main()
