"""Laws of the scenes that training and evaluation draw from. Needs the emoji: npm ci --prefix lab"""

import itertools
import random
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image

import layouts
import scenes
import vocabulary
import words

VOCABULARY = vocabulary.load("fluent-64")
WIDE, SQUARE, TALL = 2.0, 1.0, 0.5


def combinations(scene: scenes.Scene) -> set[tuple]:
    """What a scene mixes, found anew and in another way than `scenes.held_out` does."""
    counts = Counter(thing.name for thing in scene.things)
    mixed = {("pair", *sorted(pair)) for pair in itertools.combinations(counts, 2)}
    mixed |= {("count", name, count) for name, count in counts.items() if count > 1}
    mixed |= {("colour", thing.name, thing.colour) for thing in scene.things if thing.colour is not None}
    if len(scene.background) == 1:
        mixed |= {("background", name, scene.background[0]) for name in counts}
    return mixed


def is_kept(scene: scenes.Scene) -> bool:
    return any(scenes.is_held(*mixed) for mixed in combinations(scene))


def test_training_never_shows_a_held_out_combination():
    rng = random.Random(11)
    drawn = [scenes.training_scene(rng, VOCABULARY, aspect) for aspect in (WIDE, SQUARE, TALL) for _ in range(200)]
    assert {scene.task for scene in drawn} == set(scenes.TASKS)
    assert not any(is_kept(scene) for scene in drawn)


def test_scenes_that_are_not_chosen_for_training_do_show_some():
    rng = random.Random(11)
    kept = [is_kept(scenes.sample(rng, VOCABULARY)) for _ in range(400)]
    assert 0.1 < sum(kept) / len(kept) < 0.6


@pytest.mark.parametrize("name", ["fluent-64", "fluent-449"])
def test_one_combination_in_ten_is_held_out(name: str):
    pairs = itertools.combinations(vocabulary.load(name).names, 2)
    held = [scenes.is_held("pair", *sorted(pair)) for pair in pairs]
    assert 0.08 < sum(held) / len(held) < 0.12


def test_every_object_and_every_colour_is_seen_in_training():
    rng = random.Random(12)
    drawn = [scenes.training_scene(rng, VOCABULARY) for _ in range(1500)]
    assert {thing.name for scene in drawn for thing in scene.things} == set(VOCABULARY.names)
    assert {thing.colour for scene in drawn for thing in scene.things} == {None, *scenes.COLOURS}


def test_a_scene_is_a_function_of_its_generator():
    def drawn(seed: int) -> list[scenes.Scene]:
        rng = random.Random(seed)
        return [scenes.sample(rng, VOCABULARY) for _ in range(20)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


def squares(scene: scenes.Scene, short: int) -> list[tuple[int, int, int, int]]:
    """Left, top, right, bottom of each thing in whole pixels, rounded as `scenes.placed` does."""
    found = []
    for thing in scene.things:
        side = round(thing.side * short)
        left, top = round(thing.x * short - side / 2), round(thing.y * short - side / 2)
        found.append((left, top, left + side, top + side))
    return found


@pytest.mark.parametrize("aspect", [WIDE, SQUARE, TALL])
def test_things_lie_in_the_picture_never_overlap_and_can_be_told_apart_to_the_pixel(aspect: float):
    rng = random.Random(13)
    for _ in range(400):
        scene = scenes.sample(rng, VOCABULARY, aspect)
        for long in (128, 256, 512):
            width, height = round(long * min(aspect, 1)), round(long * min(1 / aspect, 1))
            boxes = squares(scene, min(width, height))
            for left, top, right, bottom in boxes:
                assert 0 <= left < right <= width, scene
                assert 0 <= top < bottom <= height, scene
                assert right - left >= layouts.LEAST * long / layouts.SMALLEST, scene
            for a, b in itertools.combinations(boxes, 2):
                assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], scene


def test_things_stand_anywhere_and_in_grids_and_some_are_mirrored():
    rng = random.Random(16)
    alone = [scenes.sample(rng, VOCABULARY, task="single").things[0] for _ in range(300)]
    assert (
        {round(4 * thing.x - 0.5) for thing in alone} == {round(4 * thing.y - 0.5) for thing in alone} == {0, 1, 2, 3}
    )
    assert 0.2 < sum(thing.flip for thing in alone) / len(alone) < 0.4
    counted = [scenes.sample(rng, VOCABULARY, task="counting").things for _ in range(300)]
    assert all(len({(each.side, each.flip, each.colour) for each in things}) == 1 for things in counted)
    fours = [things for things in counted if len(things) == 4]
    forms = Counter((len({each.x for each in things}), len({each.y for each in things})) for things in fours)
    assert min(forms[2, 2], forms[4, 4]) > 5


def test_small_is_smaller_than_what_has_no_size_and_large_is_larger():
    rng, found = random.Random(17), Counter()
    sized = {word: size for size, some in words.SIZES.items() for word in some}
    for _ in range(600):
        scene = scenes.sample(rng, VOCABULARY, task="two")
        of = {}
        for thing in scene.things:
            nouns = sorted(VOCABULARY.nouns(thing.name), key=len, reverse=True)
            noun = next(each for each in nouns if re.search(rf"\b{each}\b", scene.caption))
            before = scene.caption[: re.search(rf"\b{noun}\b", scene.caption).start()].split()[-2:]
            of[next((sized[each] for each in before if each in sized), "usual")] = thing.side
        for less, more in (("small", "usual"), ("usual", "large"), ("small", "large")):
            if less in of and more in of:
                found[less, more] += 1
                assert of[less] < of[more], scene
    assert found["small", "usual"] > 20
    assert found["usual", "large"] > 20


def test_nothing_has_nearly_the_colour_of_its_background_at_any_height():
    rng = random.Random(18)
    for _ in range(300):
        scene = scenes.sample(rng, VOCABULARY)
        begin, end = (np.array(scenes.BACKGROUNDS[name]) for name in (scene.background[0], scene.background[-1]))
        for thing in scene.things:
            rgb = scenes.main_rgb(VOCABULARY, thing.name, thing.colour)
            nearest = min(np.linalg.norm(begin + at * (end - begin) - rgb) for at in np.linspace(0, 1, 41))
            assert nearest >= 74, scene


def test_the_caption_names_things_counts_colours_and_background():
    rng = random.Random(14)
    for _ in range(400):
        scene = scenes.sample(rng, VOCABULARY)
        for name, count in Counter(thing.name for thing in scene.things).items():
            nouns = VOCABULARY.nouns(name)
            said = nouns if count == 1 else [VOCABULARY.plural(each) for each in nouns]
            assert any(re.search(rf"\b{re.escape(each)}\b", scene.caption) for each in said), scene
            if count > 1:
                assert any(scene.caption.find(f"{number} ") >= 0 for number in words.COUNTS[count]), scene
        for colour in (thing.colour for thing in scene.things if thing.colour):
            assert colour in scene.caption, scene
        for name in scene.background:
            assert name in scene.caption or scene.background == ["white"], scene
        assert "pair of pairs" not in scene.caption


@pytest.mark.parametrize("aspect", [WIDE, SQUARE, TALL])
def test_left_is_left_and_above_is_above(aspect: float):
    rng = random.Random(15)
    found = Counter()
    for _ in range(300):
        scene = scenes.sample(rng, VOCABULARY, aspect, "position")
        first, second = scene.things
        dx, dy = second.x - first.x, second.y - first.y
        assert max(abs(dx), abs(dy)) >= 2 * min(abs(dx), abs(dy)) - 1e-9, scene
        for form, pattern in (("left", words.LEFT[0]), ("above", words.ABOVE[0])):
            middle = pattern.removeprefix("{0}").removesuffix("{1}")
            if middle not in scene.caption:
                continue
            found[form] += 1
            assert (dx - 2 * abs(dy) if form == "left" else dy - 2 * abs(dx)) >= -1e-9, scene
            before, after = scene.caption.split(middle, 1)
            assert any(each in before for each in VOCABULARY.nouns(first.name))
            assert any(each in after for each in VOCABULARY.nouns(second.name))
    assert min(found["left"], found["above"]) > 5


def test_next_to_is_beside():
    rng, found = random.Random(19), 0
    for _ in range(300):
        scene = scenes.sample(rng, VOCABULARY, task="two")
        first, second = scene.things
        if " next to " in scene.caption:
            found += 1
            assert abs(second.x - first.x) >= 2 * abs(second.y - first.y), scene
    assert found > 10


def test_a_picture_is_its_background_with_the_things_laid_on_it():
    scene = scenes.Scene("single", "", [scenes.Thing("apple", 0.5, 0.5, 0.6)], ["blue", "white"])
    picture = scenes.draw(scene, 64, 128, VOCABULARY)
    assert picture.shape == (128, 64, 3)
    assert picture.dtype == np.uint8
    empty = scenes.draw(scenes.Scene("single", "", [], ["blue", "white"]), 64, 128, VOCABULARY)
    assert tuple(empty[0, 0]) == scenes.BACKGROUNDS["blue"]
    assert tuple(empty[-1, 0]) == scenes.BACKGROUNDS["white"]
    changed = (picture != empty).any(-1)
    rows, columns = np.nonzero(changed)
    # a square of 0.6 shorter sides around (0.5, 0.5) of them
    assert 32 - 20 <= rows.min() <= rows.max() <= 32 + 20
    assert 32 - 20 <= columns.min() <= columns.max() <= 32 + 20
    assert changed.sum() > 0.4 * (0.6 * 64) ** 2


def painted(hue: int) -> Image.Image:
    """A disc of one hue in many shades and see-throughs, with grey in its middle."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    reach = np.hypot(x, y)
    hsv = np.stack([np.full_like(x, hue), np.where(reach < 0.2, 0, 200), 120 + 100 * (1 - reach)], -1)
    image = Image.fromarray(hsv.clip(0, 255).astype(np.uint8), "HSV").convert("RGB")
    image.putalpha(Image.fromarray((255 * np.clip(1.2 - reach, 0, 1) * (reach < 1)).astype(np.uint8)))
    return image


@pytest.mark.parametrize("colour", scenes.COLOURS)
def test_a_recoloured_sprite_keeps_its_alpha_and_its_grey_and_takes_the_hue(colour: str):
    before = painted(100)
    after = scenes.recolour(before, scenes.COLOURS[colour])
    assert after.size == before.size
    assert after.getchannel("A").tobytes() == before.getchannel("A").tobytes()
    assert np.array_equal(np.asarray(after)[28:36, 28:36], np.asarray(before)[28:36, 28:36])
    rgb = np.asarray(after.convert("RGB"))[12, 32]
    wanted = Image.new("RGB", (1, 1), scenes.COLOURS[colour]).convert("HSV").getpixel((0, 0))[0]
    got = Image.new("RGB", (1, 1), tuple(int(level) for level in rgb)).convert("HSV").getpixel((0, 0))[0]
    assert abs((got - wanted + 128) % 256 - 128) <= 4


def test_what_can_be_recoloured_keeps_its_alpha_too():
    names = scenes.recolourable(VOCABULARY)
    assert len(names) > 10
    for name in names[:8]:
        plain, blue = scenes.sprite(VOCABULARY, name), scenes.sprite(VOCABULARY, name, "blue")
        assert plain.getchannel("A").tobytes() == blue.getchannel("A").tobytes()
        assert plain.tobytes() != blue.tobytes()
