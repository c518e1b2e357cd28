"""The evaluation's prompts: python lab/eval/make_prompts.py writes prompts.json and prompts-b.json beside itself, the
same every time. Settings are chosen on set A, prompts.json; claims are confirmed on set B, prompts-b.json.

Each is six tasks of 44. Every prompt of two objects, counting, background and position asks for a combination that
training never shows; single objects are all seen. One of attribution asks for a colour the object is never given in
training; in six of set A the object has nearly that colour as it is, so training shows it: a red heart, a green cactus
and a red balloon, of which captions say it too (`scenes.natural_colour`), a green turtle (twice) and an orange cat.
There are fewer held-out counts than prompts (15), and few held-out things on some backgrounds, so those come again in
other words and with another seed.

No prompt and no seed of set B is in set A. Its pairs and its attributions are other combinations; counts are the same
15, and backgrounds and single objects in part the same, in other words.
"""

import json
import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../train"))
import layouts
import scenes
import vocabulary
import words

VOCABULARY = vocabulary.load("fluent-64")  # of the embedded model
HERE = os.path.dirname(os.path.abspath(__file__))
EACH = 44
COUNT_WORDS = ["{word} {many}", "{number} {many}", "a picture of {word} {many}"]

BACKGROUND_WORDS = [" on {1} background", " against {1} background", " with {1} background", " on {0}"]
# what set B begins a prompt with that asks for what set A has asked for
FRESH_OPENINGS = ["a photo of ", "an image of ", "a drawing of "]


def is_lost(name: str, colour: str | None, background: str) -> bool:
    return scenes.is_lost(VOCABULARY, name, colour, background)


class Prompts:
    """A set that grows prompt by prompt, each with a seed from the set's own generator."""

    def __init__(self, rng: random.Random, prefix: str):
        self.rng, self.prefix, self.found = rng, prefix, []

    def add(self, task: str, text: str, names: list[str], **expect) -> None:
        number = sum(each["task"] == task for each in self.found)
        self.found.append(
            {
                "id": f"{self.prefix}{task}-{number:02}",
                "task": task,
                "prompt": text,
                "seed": self.rng.randrange(2**31),
                "names": names,
                "expect": {"objects": [], **expect},
            }
        )

    def two(self, x: str, y: str) -> None:
        self.add("two", f"{words.article(x)} and {words.article(y)}", [x, y], objects=[{"name": x}, {"name": y}])

    def counting(self, name: str, n: int, form: str) -> None:
        text = form.format(word=words.COUNTS[n][0], number=n, many=VOCABULARY.plural(name))
        self.add("counting", text, [name], objects=[{"name": name, "count": n}])

    def background(self, name: str, colour: str, form: str, opening: str = "") -> None:
        text = opening + words.article(name) + form.format(colour, words.article(colour))
        self.add("background", text, [name], background=[colour])

    def position(self, k: int, x: str, y: str) -> None:
        """The `k`-th, so that four phrases take turns."""
        relation, phrase = [
            ("left", words.LEFT[0]),
            ("above", words.ABOVE[0]),
            ("left", words.LEFT[2]),
            ("above", words.ABOVE[2]),
        ][k % 4]
        text = phrase.format(words.article(x), words.article(y))
        self.add("position", text, [x, y], objects=[{"name": x}, {"name": y}], relation=relation)

    def attribution(self, both: list[tuple[str, str]]) -> None:
        """`both` are (name, colour)."""
        self.add(
            "attribution",
            " and ".join(words.article(f"{c} {n}") for n, c in both),
            [n for n, _ in both],
            objects=[{"name": n, "colour": c} for n, c in both],
        )


def visible() -> list[str]:
    return [name for name in VOCABULARY.names if not is_lost(name, None, "white")]


def held_counts() -> list[tuple[str, int]]:
    return [(name, n) for name in visible() for n in (2, 3, 4) if scenes.is_held("count", name, n)]


def held_on(colour: str) -> list[str]:
    """Things that training never shows on this background, and that can be seen there."""
    return [
        name
        for name in VOCABULARY.names
        if scenes.is_held("background", name, colour) and not is_lost(name, None, colour)
    ]


def held_colours() -> list[tuple[str, str]]:
    return [
        (name, colour)
        for name in recolourable()
        for colour in scenes.COLOURS
        if scenes.is_held("colour", name, colour) and not is_lost(name, colour, "white")
    ]


def recolourable() -> list[str]:
    return [name for name in VOCABULARY.names if scenes.can_recolour(VOCABULARY, name)]


def with_another(name: str, colour: str, rng: random.Random) -> list[tuple[str, str]]:
    """A thing in a colour and another in another, in either order."""
    while True:
        other, hue = rng.choice(recolourable()), rng.choice(list(scenes.COLOURS))
        if other != name and hue != colour and not is_lost(other, hue, "white"):
            return rng.sample([(name, colour), (other, hue)], 2)


def entries() -> list[dict]:
    """Set A."""
    rng = random.Random(3)
    prompts, seen = Prompts(rng, ""), visible()

    for name in rng.sample(seen, EACH):
        prompts.add("single", words.article(name), [name], objects=[{"name": name}])

    pairs = [tuple(rng.sample((x, y), 2)) for x in seen for y in seen if x < y and scenes.is_held("pair", x, y)]
    rng.shuffle(pairs)
    for x, y in pairs[:EACH]:
        prompts.two(x, y)

    counts = held_counts()
    rng.shuffle(counts)
    for k in range(EACH):
        prompts.counting(*counts[k % len(counts)], COUNT_WORDS[k // len(counts)])

    for colour in scenes.BACKGROUNDS:
        fitting = held_on(colour)
        rng.shuffle(fitting)
        for k in range(EACH // 11):
            prompts.background(fitting[k % len(fitting)], colour, BACKGROUND_WORDS[k // len(fitting)])

    for k, (x, y) in enumerate(pairs[EACH : 2 * EACH]):
        prompts.position(k, x, y)

    kept = held_colours()
    rng.shuffle(kept)
    for k in range(EACH):
        prompts.attribution(with_another(*kept[k % len(kept)], rng))
    return prompts.found


def fresh_entries() -> list[dict]:
    """Set B: nothing that set A asks for, while there is something else that training never shows."""
    first, rng = entries(), random.Random(5)
    prompts, seen = Prompts(rng, "b-"), visible()
    of = {task: [each for each in first if each["task"] == task] for task in {each["task"] for each in first}}

    asked = [each["names"][0] for each in of["single"]]
    singles = [name for name in seen if name not in asked]
    rng.shuffle(singles)
    again = rng.sample(asked, EACH - len(singles))
    for name in singles:
        prompts.add("single", words.article(name), [name], objects=[{"name": name}])
    for k, name in enumerate(again):
        text = FRESH_OPENINGS[k % len(FRESH_OPENINGS)] + words.article(name)
        prompts.add("single", text, [name], objects=[{"name": name}])

    taken = {frozenset(each["names"]) for each in of["two"] + of["position"]}
    pairs = [
        tuple(rng.sample((x, y), 2))
        for x in seen
        for y in seen
        if x < y and scenes.is_held("pair", x, y) and frozenset((x, y)) not in taken
    ]
    rng.shuffle(pairs)
    for x, y in pairs[:EACH]:
        prompts.two(x, y)

    counts = held_counts()
    rng.shuffle(counts)
    for k in range(EACH):
        prompts.counting(*counts[k % len(counts)], FRESH_OPENINGS[k // len(counts)] + "{word} {many}")

    for colour in scenes.BACKGROUNDS:
        fitting = held_on(colour)
        rng.shuffle(fitting)
        asked = [each["names"][0] for each in of["background"] if each["expect"]["background"] == [colour]]
        fresh = [name for name in fitting if name not in asked][: EACH // 11]
        for name in fresh:
            prompts.background(name, colour, BACKGROUND_WORDS[0])
        for k in range(EACH // 11 - len(fresh)):
            opening = FRESH_OPENINGS[k % len(FRESH_OPENINGS)]
            form = BACKGROUND_WORDS[k // len(FRESH_OPENINGS)]
            prompts.background(fitting[k % len(fitting)], colour, form, opening)

    for k, (x, y) in enumerate(pairs[EACH : 2 * EACH]):
        prompts.position(k, x, y)

    kept, taken = held_colours(), {frozenset(coloured(each)) for each in of["attribution"]}
    rng.shuffle(kept)
    for k in range(EACH):
        while frozenset(both := with_another(*kept[k % len(kept)], rng)) in taken:
            pass
        taken.add(frozenset(both))
        prompts.attribution(both)
    return prompts.found


def coloured(entry: dict) -> list[tuple[str, str]]:
    """(name, colour) of a prompt's things."""
    return [(each["name"], each["colour"]) for each in entry["expect"]["objects"]]


# file and prompts of each set
SETS = {"prompts.json": entries, "prompts-b.json": fresh_entries}


def scene_of(entry: dict, rng: random.Random) -> scenes.Scene:
    """A square scene as the prompt asks for, laid out as in the training of the embedded model: every thing fills its
    cell alike. A model trained on the free scenes of `scenes.sample` must be measured against such ones: lay these out
    so, and compute the Fréchet reference anew.
    """
    expect, names = entry["expect"], entry["names"]
    colours = [each.get("colour") for each in expect["objects"]] or [None] * len(names)
    if entry["task"] == "counting":
        names, colours = (each * expect["objects"][0]["count"] for each in (names, colours))
    across = {"left": True, "above": False}.get(expect.get("relation"), rng.random() < 0.5)
    spots = [layouts.settle(cell, *layouts.FIXED, rng) for cell in layouts.place(len(names), 1, across, rng)]
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
    for name, make in SETS.items():
        with open(os.path.join(HERE, name), "w") as file:
            file.write("[\n" + ",\n".join(f"  {json.dumps(each)}" for each in make()) + "\n]\n")


if __name__ == "__main__":
    main()
