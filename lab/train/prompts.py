"""What a model says of itself: what it can draw, some prompts, and the words of its captions."""

import random
import re

import scenes
import words
from vocabulary import Vocabulary

TASKS = ["single", "two", "position", "counting", "attribution", "many", "single", "counting"]


def stated(vocabulary: Vocabulary) -> dict[str, list[str]]:
    """The names of the objects, their colours, the backgrounds, and words for how many of a kind, as plain lists."""
    return {
        "objects": vocabulary.names,
        "colours": list(scenes.COLOURS),
        "backgrounds": list(scenes.BACKGROUNDS),
        "counts": [names[0] for names in words.COUNTS.values()],
    }


def examples(vocabulary: Vocabulary, seed: int) -> list[str]:
    """Eight prompts, one of every task and a second of two, that ask for no held-out combination, no unusual size, and
    no object twice; the same for the same seed.
    """
    rng, found, shown = random.Random(seed), [], set()
    sizes = {word for some in words.SIZES.values() for word in some}
    for task in TASKS:
        while True:
            scene = scenes.training_scene(rng, vocabulary, task=task)
            names = {thing.name for thing in scene.things}
            has_opening = any(opening and scene.caption.startswith(opening) for opening in words.OPENINGS)
            if not (has_opening or names & shown or sizes & set(scene.caption.split())):
                break
        found.append(scene.caption)
        shown |= names
    return found


def caption_words(vocabulary: Vocabulary) -> list[str]:
    """Every word that a caption can have, in alphabetical order."""
    nouns = [noun for name in vocabulary.names for noun in vocabulary.nouns(name)]
    phrases = [
        *nouns,
        *map(vocabulary.plural, nouns),
        *scenes.COLOURS,
        *scenes.BACKGROUNDS,
        *(word for some in [*words.COUNTS.values(), *words.SIZES.values()] for word in some),
        *words.OPENINGS,
        *words.PLAIN,
        *words.GRADED,
        *words.LEFT,
        *words.ABOVE,
        *words.SIDE_BY_SIDE,
        words.listing(["", "", ""]),
        "a an",
    ]
    return sorted({word for phrase in phrases for word in re.findall(r"[a-z0-9]+", re.sub(r"\{\d\}", "", phrase))})
