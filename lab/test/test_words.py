"""English of the captions."""

import random

import pytest

import scenes
import words


@pytest.mark.parametrize(
    ("noun", "several"),
    [
        ("apple", "apples"),
        ("fox", "foxes"),
        ("bus", "buses"),
        ("cherry", "cherries"),
        ("monkey", "monkeys"),
        ("tropical fish", "tropical fish"),
        ("slice of pizza", "slices of pizza"),
        ("pair of cherries", "pairs of cherries"),
    ],
)
def test_plurals_bend_the_last_word_and_of_phrases_their_first(noun: str, several: str):
    assert words.plural(noun) == several


def test_the_article_goes_by_the_first_letter():
    assert words.article("owl") == "an owl"
    assert words.article("red owl") == "a red owl"


def test_a_listing_has_commas_and_one_and():
    assert words.listing(["a fox"]) == "a fox"
    assert words.listing(["a fox", "a cat"]) == "a fox and a cat"
    assert words.listing(["a fox", "a cat", "a bee"]) == "a fox, a cat and a bee"


def test_other_names_belong_to_things_there_are_and_to_one_alone():
    assert set(words.ALSO) <= set(scenes.NAMES)
    others = [other for found in words.ALSO.values() for other in found]
    assert len(others) == len(set(others))
    assert not set(others) & set(scenes.NAMES)


def test_a_thing_goes_by_its_own_name_about_three_times_in_four():
    rng = random.Random(1)
    said = [words.named("dog", rng) for _ in range(4000)]
    assert set(said) == {"dog", "puppy"}
    assert 0.72 < said.count("dog") / len(said) < 0.78
    assert {words.named("fox", rng) for _ in range(100)} == {"fox"}
