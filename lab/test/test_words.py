"""English of the captions."""

import pytest

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


@pytest.mark.parametrize(
    "phrase",
    ["an owl", "a red owl", "a unicorn", "an umbrella", "an hourglass", "a house", "a ufo", "an onion", "a honeybee"],
)
def test_the_article_goes_by_how_the_first_word_is_spoken(phrase: str):
    assert words.article(phrase.split(" ", 1)[1]) == phrase


def test_a_listing_has_commas_and_one_and():
    assert words.listing(["a fox"]) == "a fox"
    assert words.listing(["a fox", "a cat"]) == "a fox and a cat"
    assert words.listing(["a fox", "a cat", "a bee"]) == "a fox, a cat and a bee"
