"""The batched compositor against the reference. Needs PyTorch and the emoji: npm ci --prefix lab"""

import random

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")

import atlas  # noqa: E402
import compose  # noqa: E402
import packed  # noqa: E402
import resample  # noqa: E402
import scenes  # noqa: E402
import vocabulary  # noqa: E402

SHAPES = [(128, 128), (256, 256), (512, 512), (256, 128), (128, 256)]
SMALL = [(32, 48), (64, 16), (48, 96)]
OBJECTS = vocabulary.load("fluent-64")
COLOURS = [None, *scenes.COLOURS]
# where Pillow averages cells of another size first, where it copies, and the ends
SIDES = [1, 2, 3, 13, 21, 25, 26, 32, 33, 42, 43, 64, 65, 96, 97, 255, 256, 257, 600]


def things_at(scene: scenes.Scene, width: int, height: int) -> np.ndarray:
    """Labels of a scene from Pillow's own box filter, as `compose.Batch` describes them."""
    tokens = height // 16 * (width // 16)
    result, most = np.zeros((tokens, 2), np.int64), np.full(tokens, 2 / 5)
    for thing in scene.things:
        cover = Image.new("L", (width, height))
        image, corner = scenes.placed(thing, min(width, height), OBJECTS)
        cover.paste(image.getchannel("A"), corner)
        share = np.asarray(cover.resize((width // 16, height // 16), Image.BOX)).reshape(-1) / 255
        result[share > most] = 1 + OBJECTS.names.index(thing.name), COLOURS.index(thing.colour)
        most = np.maximum(most, share)
    return result


def fixed(width: int, height: int) -> list[scenes.Scene]:
    """Every task, and whatever a picture can hold at all, at this shape."""
    rng, short = random.Random(31), min(width, height)
    across, down = width / short, height / short
    found = [scenes.sample(rng, OBJECTS, width / height, task) for task in scenes.TASKS]

    def thing(name: str, x: float, y: float, side: int, *rest) -> scenes.Thing:
        return scenes.Thing(name, x * across, y * down, side / short, *rest)

    rims = [("apple", 0, 0), ("apple", 1, 0.3), ("fish", 0.4, 1), ("fish", 1, 1), ("key", -0.5, 0.5), ("key", 3, 3)]
    found += [
        scenes.Scene("single", "", [], ["black", "pink"], [-5.5, 5.5, 0.1]),
        scenes.Scene("single", "", [thing("fish", 0.5, 0.5, 0.7 * short, "green", True)], ["yellow", "red"], [6, 6, 6]),
        scenes.Scene("many", "", [thing(name, x, y, 45, None, x < y) for name, x, y in rims], ["white", "blue"]),
        # one over the other, equals among them
        scenes.Scene("many", "", [thing(name, 0.5, 0.5, 80) for name in ("apple", "fish", "key")], ["gray"]),
        scenes.Scene("two", "", [thing("apple", 0.5, 0.5, 80), thing("apple", 0.5, 0.5, 80, "blue")], ["gray"]),
        scenes.Scene("many", "", [thing("key", (i % 3 + 0.5) / 3, (i // 3 + 0.5) / 3, 40) for i in range(9)], ["blue"]),
    ]
    sized = [
        thing("fish", rng.random(), rng.random(), side, None, side % 2 == 0) for side in sorted(SIDES, reverse=True)
    ]
    if (width, height) == SHAPES[0]:
        found += [scenes.Scene("single", "", [each], ["purple"]) for each in sized]
    else:  # smaller ones over greater ones
        found += [scenes.Scene("many", "", sized[at : at + 10], ["purple"]) for at in (0, 10)]
    return found


def wild(width: int, height: int, count: int) -> list[scenes.Scene]:
    rng = random.Random(f"{width} {height}")

    def thing() -> scenes.Thing:
        name = rng.choice(["apple", "fish", "key", "car", "heart"])
        x, y = rng.uniform(-0.3, 1.3) * width, rng.uniform(-0.3, 1.3) * height
        side = rng.choice([0.1, 0.3, 0.8, 2]) * rng.uniform(0.5, 1.5)
        short = min(width, height)
        return scenes.Thing(name, x / short, y / short, side, rng.choice([None, None, "blue"]), rng.random() < 0.5)

    return [
        scenes.Scene(
            "many",
            "",
            [thing() for _ in range(rng.randrange(6))],
            rng.sample(list(scenes.BACKGROUNDS), rng.choice((1, 2))),
            [rng.uniform(-6, 6) for _ in range(3)],
        )
        for _ in range(count)
    ]


DRAWN = {shape: fixed(*shape) for shape in SHAPES} | {shape: wild(*shape, 60) for shape in SMALL}


@pytest.fixture(scope="module")
def packs() -> dict[tuple[int, int], dict[str, np.ndarray]]:
    return {shape: packed.pack_scenes(drawn, *shape, OBJECTS) for shape, drawn in DRAWN.items()}


@pytest.fixture(scope="module")
def compositor(packs: dict) -> compose.Compositor:
    return compose.Compositor(atlas.draw_atlas(packs.values(), OBJECTS, 2))


@pytest.mark.parametrize("shape", DRAWN)
def test_pictures_and_labels_are_those_of_the_reference(shape, packs: dict, compositor: compose.Compositor):
    drawn = DRAWN[shape]
    batch = compositor.compose(packs[shape], np.arange(len(drawn)))
    assert batch.pictures.dtype == torch.uint8
    assert batch.things.dtype == torch.int64
    for at, scene in enumerate(drawn):
        assert np.array_equal(batch.pictures[at].numpy(), scenes.draw(scene, *shape, OBJECTS)), scene
        assert np.array_equal(batch.things[at].numpy(), things_at(scene, *shape)), scene


def test_the_fixed_list_holds_every_kind(packs: dict):
    for shape in SHAPES:
        arrays = packs[shape]
        there = arrays["sprite"] >= 0
        assert set(SIDES) <= set(arrays["side"][there].tolist())
        assert arrays["flip"][there].any()
        assert not arrays["flip"][there].all()
        assert (arrays["colour"][there] > 0).any()
        assert (arrays["ends"][:, 0] != arrays["ends"][:, 1]).any()
        assert {scene.task for scene in DRAWN[shape]} == set(scenes.TASKS)
    steps = {resample.factor(side) for side in SIDES}
    assert {1, 2, 3, 4, 5, 6} <= steps


def test_any_choice_in_any_order_gives_the_same_pictures(packs: dict, compositor: compose.Compositor):
    arrays = packs[32, 48]
    full = compositor.compose(arrays, np.arange(60))
    index = np.random.default_rng(1).integers(0, 60, 37)
    some = compositor.compose(arrays, index)
    assert torch.equal(some.pictures, full.pictures[index])
    assert torch.equal(some.things, full.things[index])


def test_the_size_of_its_steps_changes_nothing(packs: dict, compositor: compose.Compositor, monkeypatch):
    full = compositor.compose(packs[48, 96], np.arange(60))
    monkeypatch.setattr(compose, "PIXELS", 7 * 48 * 96)
    monkeypatch.setattr(compose, "BYTES", 2**22)
    small = compositor.compose(packs[48, 96], np.arange(60))
    assert torch.equal(full.pictures, small.pictures)
    assert torch.equal(full.things, small.things)


@pytest.mark.parametrize(("alpha", "label"), [(102, [0, 0]), (103, [1, 0])])
def test_a_thing_counts_where_it_covers_more_than_two_fifths(alpha: int, label: list[int]):
    row = np.full((64, 8), -1, np.int32)
    row[0, 0] = 0
    plain = compose.Compositor(atlas.Atlas(np.full((1, 256, 256, 4), alpha, np.uint8), row))
    scene = scenes.Scene("single", "", [scenes.Thing(OBJECTS.names[0], 0.5, 0.5, 1)], ["white"])
    batch = plain.compose(packed.pack_scenes([scene], 16, 16, OBJECTS), [0])
    assert batch.things.tolist() == [[label]]


def test_coverage_is_pillows_box_filter():
    alpha = np.random.default_rng(2).integers(0, 256, (40, 48, 32), np.uint8)
    expected = [np.asarray(Image.fromarray(each).resize((2, 3), Image.BOX)).flatten() for each in alpha]
    assert np.array_equal(compose.coverage(torch.from_numpy(alpha).int()).numpy(), expected)


def test_what_it_does_not_have_is_refused(packs: dict, compositor: compose.Compositor):
    arrays = packs[64, 16]
    for index in ([60], [-1], [], [[0]]):
        with pytest.raises(IndexError, match="expected a list of one or more from 0 to 59"):
            compositor.compose(arrays, np.array(index))
    robot = scenes.Scene("single", "", [scenes.Thing("robot", 0.5, 0.5, 0.5, "pink")], ["white"])
    with pytest.raises(ValueError, match=rf"sprite {OBJECTS.names.index('robot')} in colour \d is not in the atlas"):
        compositor.compose(packed.pack_scenes([robot], 64, 64, OBJECTS), np.arange(1))
    with pytest.raises(ValueError, match="sprite holds 64; expected -1 to 63"):
        compositor.compose(arrays | {"sprite": np.full_like(arrays["sprite"], 64)}, np.arange(1))
