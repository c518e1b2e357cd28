"""Names of emoji. Needs emojibase: npm ci --prefix lab/train"""

import hashlib
import json
from pathlib import Path

import pytest

import emoji_names as names
import vocabulary

MODEL = Path(__file__).parents[2] / "models/fluent-scenes"
WORDS = names.words_of(json.loads((MODEL / "tokenizer.json").read_text()))
VOCABULARY = vocabulary.load("fluent-64")
TABLE = names.emoji_names(names.read_emojibase(), WORDS, VOCABULARY)


def entry(label: str, group: int = 4, hexcode: str = "1F000", type_: int = 1) -> dict:
    return {"label": label, "group": group, "hexcode": hexcode, "type": type_}


def test_every_object_goes_by_the_name_it_was_trained_with():
    for name, code in VOCABULARY.objects.items():
        assert TABLE[names.emoji_of(code.removesuffix("-fe0f"))] == name


@pytest.mark.parametrize(
    ("label", "known", "name"),
    [
        ("green apple", {"green", "apple"}, "green apple"),
        ("grey heart", {"gray", "heart"}, "gray heart"),
        ("grey heart", {"heart"}, "grey heart"),
        ("minibus", {"bus"}, "bus"),
        ("minibus", {"bus", "minibus"}, "minibus"),
        ("minibus", set(), "minibus"),
        ("flag: Chile", set(), "flag of Chile"),
        ("keycap: 3", {"3"}, "3"),
        ("woman: red hair", set(), "woman red hair"),
        ("man’s shoe", set(), "man's shoe"),
    ],
)
def test_others_go_by_their_label_in_words_that_are_known(label: str, known: set[str], name: str):
    assert names.name_of(entry(label), known, VOCABULARY) == name


def test_the_face_of_an_animal_is_the_animal_and_that_of_a_person_is_a_face():
    assert names.name_of(entry("tiger face", names.ANIMALS), set(), VOCABULARY) == "tiger"
    assert names.name_of(entry("grinning face", 0), set(), VOCABULARY) == "grinning face"


def test_only_symbols_that_are_text_of_themselves_need_the_emoji_presentation():
    made = names.emoji_names(
        [
            entry("right arrow", names.SYMBOLS, "27A1-FE0F", 0),
            entry("keycap: 3", names.SYMBOLS, "0033-FE0F-20E3"),
            entry("umbrella", 5, "2602-FE0F", 0),
            entry("medium skin tone", 2, "1F3FD"),
        ],
        set(),
        VOCABULARY,
    )
    assert made == {"\u27a1\ufe0f": "right arrow", "3\u20e3": "3", "\u2602": "umbrella"}


def test_the_file_of_the_model_is_this_table_and_its_manifest_lists_it():
    content = (MODEL / names.FILE).read_bytes()
    assert json.loads(content) == TABLE
    manifest = json.loads((MODEL / "manifest.json").read_text())
    assert manifest["tokenizer"]["emoji"] == names.FILE
    assert manifest["files"][names.FILE] == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
