"""Laws of the scenes that training and evaluation draw from. Needs the emoji: npm ci --prefix lab"""

import itertools
import random
import re
from collections import Counter

import numpy as np
import pytest
from PIL import Image

import scenes
import words

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


@pytest.mark.parametrize("is_free", [True, False])
def test_training_never_shows_a_held_out_combination(is_free: bool):
    rng = random.Random(11)
    drawn = [scenes.training_scene(rng, aspect, is_free) for aspect in (WIDE, SQUARE, TALL) for _ in range(200)]
    assert {scene.task for scene in drawn} == set(scenes.TASKS)
    assert not any(is_kept(scene) for scene in drawn)


def test_scenes_that_are_not_chosen_for_training_do_show_some():
    rng = random.Random(11)
    kept = [is_kept(scenes.sample(rng)) for _ in range(400)]
    assert 0.1 < sum(kept) / len(kept) < 0.6


def test_one_combination_in_ten_is_held_out():
    pairs = [scenes.is_held("pair", *sorted(pair)) for pair in itertools.combinations(scenes.NAMES, 2)]
    assert 0.08 < sum(pairs) / len(pairs) < 0.12


def test_every_object_and_every_colour_is_seen_in_training():
    rng = random.Random(12)
    drawn = [scenes.training_scene(rng) for _ in range(1500)]
    assert {thing.name for scene in drawn for thing in scene.things} == set(scenes.NAMES)
    assert {thing.colour for scene in drawn for thing in scene.things} == {None, *scenes.COLOURS}


def test_a_scene_is_a_function_of_its_generator():
    def drawn(seed: int) -> list[scenes.Scene]:
        rng = random.Random(seed)
        return [scenes.sample(rng) for _ in range(20)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@pytest.mark.parametrize("aspect", [WIDE, SQUARE, TALL])
# of free scenes a thing that changed places with a smaller one may be cut by the rim
@pytest.mark.parametrize(("is_free", "cut"), [(False, 1e-9), (True, 0.05)])
def test_things_lie_in_the_picture_and_never_overlap(aspect: float, is_free: bool, cut: float):
    rng = random.Random(13)
    width, height = max(aspect, 1), max(1 / aspect, 1)
    for _ in range(300):
        things = scenes.sample(rng, aspect, is_free=is_free).things
        for thing in things:
            half = thing.side / 2 - cut
            assert half <= thing.x <= width - half
            assert half <= thing.y <= height - half
        for a, b in itertools.combinations(things, 2):
            assert max(abs(a.x - b.x), abs(a.y - b.y)) >= (a.side + b.side) / 2


def test_the_caption_names_things_counts_colours_and_background():
    rng = random.Random(14)
    for _ in range(400):
        scene = scenes.sample(rng)
        for name, count in Counter(thing.name for thing in scene.things).items():
            names = [name, *words.ALSO.get(name, [])]
            said = names if count == 1 else [words.plural(each) for each in names]
            assert any(re.search(rf"\b{re.escape(each)}\b", scene.caption) for each in said), scene
            if count > 1:
                assert any(scene.caption.find(f"{number} ") >= 0 for number in words.COUNTS[count]), scene
        for colour in (thing.colour for thing in scene.things if thing.colour):
            assert colour in scene.caption, scene
        for name in scene.background:
            assert name in scene.caption or scene.background == ["white"], scene


def test_left_is_left_and_above_is_above():
    rng = random.Random(15)
    found = Counter()
    for _ in range(300):
        scene = scenes.sample(rng, task="position")
        first, second = scene.things
        for form, pattern in (("left", words.LEFT[0]), ("above", words.ABOVE[0])):
            middle = pattern.removeprefix("{0}").removesuffix("{1}")
            if middle not in scene.caption:
                continue
            found[form] += 1
            assert first.x < second.x if form == "left" else first.y < second.y, scene
            before, after = scene.caption.split(middle, 1)
            assert any(each in before for each in [first.name, *words.ALSO.get(first.name, [])])
            assert any(each in after for each in [second.name, *words.ALSO.get(second.name, [])])
    assert min(found["left"], found["above"]) > 10


def test_a_picture_is_its_background_with_the_things_laid_on_it():
    scene = scenes.Scene("single", "", [scenes.Thing("apple", 0.5, 0.5, 0.6)], ["blue", "white"])
    picture = scenes.draw(scene, 64, 128)
    assert picture.shape == (128, 64, 3)
    assert picture.dtype == np.uint8
    empty = scenes.draw(scenes.Scene("single", "", [], ["blue", "white"]), 64, 128)
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
    names = [name for name in scenes.NAMES if scenes.can_recolour(name)]
    assert len(names) > 10
    for name in names[:8]:
        plain, blue = scenes.sprite(name), scenes.sprite(name, "blue")
        assert plain.getchannel("A").tobytes() == blue.getchannel("A").tobytes()
        assert plain.tobytes() != blue.tobytes()
