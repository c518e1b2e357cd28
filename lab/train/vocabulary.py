"""Vocabularies: the objects a model knows, the emoji that shows each, and the names they go by. Each is a file of
`vocabularies`, by whose name `load` finds it.
"""

import json
import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import words

FOLDER = Path(__file__).parent / "vocabularies"


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """`objects`: name → code point of its emoji. `also`: what people also call it, names of this thing and no other.
    `plurals`: those of nouns that `words.plural` gets wrong.
    """

    objects: dict[str, str]
    also: dict[str, list[str]]
    plurals: dict[str, str]

    @property
    def names(self) -> list[str]:
        return list(self.objects)

    def nouns(self, name: str) -> list[str]:
        """All that a thing is called, its name first."""
        return [name, *self.also.get(name, [])]

    def plural(self, noun: str) -> str:
        return self.plurals.get(noun) or words.plural(noun)

    def named(self, name: str, rng: random.Random) -> str:
        """The plain name, or now and then another one it goes by."""
        return rng.choice(self.also[name]) if name in self.also and rng.random() < 0.25 else name


@lru_cache(None)
def load(name: str) -> Vocabulary:
    """That of `vocabularies/NAME.json`. Raises ValueError when there is none."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        known = ", ".join(sorted(each.stem for each in FOLDER.glob("*.json")))
        raise ValueError(f"vocabulary is {name}; expected one of {known}")
    return Vocabulary(**json.loads(path.read_text()))
