"""Laws of the vocabularies. Needs the emoji and their words: npm ci --prefix lab"""

import itertools
import json
import random
import re
from pathlib import Path

import pytest

import prompts
import scenes
import vocabulary
import words
from vocabulary import Vocabulary

FILES = sorted(path.stem for path in vocabulary.FOLDER.glob("*.json"))
NEXT = vocabulary.load("fluent-449")
LAB = Path(__file__).parents[1]


@pytest.fixture(params=FILES)
def some(request: pytest.FixtureRequest) -> Vocabulary:
    return vocabulary.load(request.param)


def test_the_next_vocabulary_knows_all_of_the_embedded_models():
    known = vocabulary.load("fluent-64")
    assert (len(known.objects), len(NEXT.objects)) == (64, 449)
    assert known.objects.items() <= NEXT.objects.items()


def test_an_unknown_vocabulary_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="vocabulary is fluent-7; expected one of fluent-449, fluent-64"):
        vocabulary.load("fluent-7")


def test_every_object_has_a_picture_of_its_own(some: Vocabulary):
    folder, pattern = scenes.SOURCES["fluent"]
    for code in some.objects.values():
        assert (LAB / "train" / folder / pattern.format(code)).exists(), code
    assert len(set(some.objects.values())) == len(some.objects)


def test_one_name_is_one_thing(some: Vocabulary):
    owner = {}
    for name in some.names:
        nouns = some.nouns(name)
        assert len(set(nouns)) == len(nouns)
        for form in {*nouns, *map(some.plural, nouns)}:
            assert owner.setdefault(form, name) == name, form
    assert set(some.also) <= set(some.objects)


def test_names_are_plain_words_and_say_no_colour_size_or_number():
    said = {*scenes.COLOURS, *scenes.BACKGROUNDS, *(each for some in words.SIZES.values() for each in some)}
    said |= {each for some in words.COUNTS.values() for each in some} | {"one", "pairs"}
    for name in NEXT.names:
        for noun in NEXT.nouns(name):
            assert re.fullmatch("[a-z]+([ -][a-z]+)*", noun), noun
            assert not said & set(noun.split()), noun


def test_irregular_plurals_are_of_nouns_that_there_are(some: Vocabulary):
    nouns = {noun for name in some.names for noun in some.nouns(name)}
    assert set(some.plurals) <= nouns
    for noun, several in some.plurals.items():
        assert words.plural(noun) != several, noun


# ends of nouns that bend by no rule of words.plural
IRREGULAR = (
    *("man", "mouse", "goose", "foot", "tooth", "child", "leaf", "loaf", "scarf", "knife", "wolf", "shelf", "half"),
    *("deer", "sheep", "moose", "bison", "tomato", "potato", "mango", "volcano", "buffalo", "mosquito"),
)


def test_nouns_that_bend_by_no_rule_have_their_plural_by_hand():
    for name in NEXT.names:
        for noun in NEXT.nouns(name):
            is_irregular = noun.split(" of ")[0].endswith(IRREGULAR)
            assert not is_irregular or noun in NEXT.plurals, noun


@pytest.mark.parametrize(
    ("noun", "several"),
    [
        ("wolf", "wolves"),
        ("mouse", "mice"),
        ("sheep", "sheep"),
        ("loaf of bread", "loaves of bread"),
        ("pair of glasses", "pairs of glasses"),
        ("glass of wine", "glasses of wine"),
        ("kitchen knife", "kitchen knives"),
        ("sweet potato", "sweet potatoes"),
        ("box of french fries", "boxes of french fries"),
        ("maple leaf", "maple leaves"),
        ("snowman", "snowmen"),
        ("jellyfish", "jellyfish"),
        ("cherry", "cherries"),
        ("toothbrush", "toothbrushes"),
        ("fox", "foxes"),
    ],
)
def test_several_of_a_thing(noun: str, several: str):
    assert NEXT.plural(noun) == several


def test_nothing_is_a_person_a_part_of_a_body_a_flag_a_symbol_or_a_smiley():
    """By the groups of emojibase: people, components, flags and symbols have no object here; of the first, smileys and
    emotion, only those that are things.
    """
    groups = {}
    for entry in json.loads((LAB / "node_modules/emojibase-data/en/data.json").read_text()):
        groups[entry["hexcode"].removesuffix("-FE0F")] = entry.get("group")
    of = {name: groups[code.upper().removesuffix("-FE0F")] for name, code in NEXT.objects.items()}
    things = {"heart", "robot", "ghost", "alien", "broken heart", "love letter", "speech bubble"}
    assert {name for name, group in of.items() if group == 0} == things
    assert {name for name, group in of.items() if group in (None, 1, 2, 9)} == set()
    assert {name for name, group in of.items() if group == 8} == {"trident"}


def test_a_thing_goes_by_its_own_name_about_three_times_in_four():
    rng = random.Random(1)
    said = [NEXT.named("dog", rng) for _ in range(4000)]
    assert set(said) == {"dog", "puppy"}
    assert 0.72 < said.count("dog") / len(said) < 0.78
    assert {NEXT.named("fox", rng) for _ in range(100)} == {"fox"}


def test_captions_have_no_other_words_than_those_said_and_few_enough(some: Vocabulary):
    known, rng = set(prompts.caption_words(some)), random.Random(4)
    for _ in range(400):
        caption = scenes.sample(rng, some).caption
        found = re.findall(r"[a-z0-9]+|[^\sa-z0-9]", caption)
        assert {each for each in found if each.isalnum()} <= known, caption
        assert set(found) - known <= {",", "-"}, caption
        # every word is one token, and [START] comes before them
        assert len(found) < 64, caption


def test_examples_are_eight_prompts_of_training_the_same_for_a_seed():
    found = prompts.examples(NEXT, 1)
    assert found == prompts.examples(NEXT, 1)
    assert found != prompts.examples(NEXT, 2)
    assert len(set(found)) == 8
    assert not any(" large " in f" {each} " or each.startswith("a picture of") for each in found)


def asked(prompt: str, some: Vocabulary) -> list[tuple]:
    """The combinations that a prompt's words ask for, as `scenes.held_out` names them: a colour also where the thing
    has it as it is, a background only where it is said.
    """
    grounds, found = "|".join(scenes.BACKGROUNDS), []
    said = re.search(rf"(?: on| against| with|,)(?: an?)? ({grounds})(?: background)?$", prompt)
    foreground = re.split(" on a background | on a gradient | with a gradient ", prompt[: said and said.start()])[0]
    forms = {form: name for name in some.names for noun in some.nouns(name) for form in (noun, some.plural(noun))}
    numbers = {word: count for count, names in words.COUNTS.items() for word in names}
    longest_first = sorted(forms, key=len, reverse=True)
    names = []
    for part in re.finditer(rf"(.*?)\b({'|'.join(map(re.escape, longest_first))})\b", foreground):
        before, name = f" {part[1]} ", forms[part[2]]
        names.append(name)
        found += [("colour", name, colour) for colour in scenes.COLOURS if f" {colour} " in before]
        found += [("count", name, count) for word, count in numbers.items() if f" {word} " in before]
    found += [("pair", *sorted(pair)) for pair in itertools.combinations(names, 2)]
    return found + [("background", name, said[1]) for name in names if said]


def test_the_words_of_a_prompt_ask_for_what_its_scene_shows(some: Vocabulary):
    rng = random.Random(6)
    for _ in range(300):
        scene = scenes.sample(rng, some)
        found = {each for each in asked(scene.caption, some) if scenes.is_held(*each)}
        natural = {each for each in found if each[0] == "colour"}
        # a white background need not be said, and a natural colour may be
        shown = {each for each in scenes.held_out(scene) if each[0] != "background" or each[2] in scene.caption}
        assert shown <= found, scene.caption
        assert found - natural <= shown, scene.caption


def test_examples_ask_for_no_held_out_combination(some: Vocabulary):
    for seed in range(12):
        for prompt in prompts.examples(some, seed):
            assert not [each for each in asked(prompt, some) if scenes.is_held(*each)], prompt


def test_the_examples_of_the_embedded_model_ask_for_no_held_out_combination():
    manifest = json.loads((LAB.parent / "models/fluent-scenes/manifest.json").read_text())
    known = vocabulary.load("fluent-64")
    for prompt in manifest["facts"]["examples"]:
        assert not [each for each in asked(prompt, known) if scenes.is_held(*each)], prompt


def test_what_a_model_states_are_plain_lists():
    said = prompts.stated(vocabulary.load("fluent-64"))
    assert said["objects"][:2] == ["dog", "cat"]
    assert said["colours"] == ["red", "orange", "yellow", "green", "blue", "purple", "pink"]
    assert len(said["backgrounds"]) == 11
    assert said["counts"] == ["two", "three", "four"]
    assert json.loads(json.dumps(said)) == said
