"""Scenes and sprites on their way to the machine that trains. Needs the emoji: npm ci --prefix lab"""

import random
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import atlas
import packed
import resample
import scenes
import vocabulary

SHAPES = [(128, 128), (256, 256), (512, 512), (256, 128), (128, 256)]
OBJECTS = vocabulary.load("fluent-64")


def sampled(count: int, aspect: float, seed: int) -> list[scenes.Scene]:
    rng = random.Random(seed)
    return [scenes.sample(rng, OBJECTS, aspect) for _ in range(count)]


def unpacked(arrays: dict[str, np.ndarray], at: int) -> np.ndarray:
    """The picture of a packed scene, drawn with Pillow from the arrays alone."""
    width, height = int(arrays["width"]), int(arrays["height"])
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    first, last = arrays["ends"][at]
    rows = (first * (1 - ramp) + last * ramp).round().astype(np.uint8)
    picture = Image.fromarray(np.broadcast_to(rows, (height, width, 3)).copy())
    for sprite, colour, side, left, top, flip in zip(
        *(arrays[field][at].tolist() for field in packed.FIELDS), strict=True
    ):
        if sprite < 0:
            continue
        image = scenes.sprite(OBJECTS, OBJECTS.names[sprite], [None, *scenes.COLOURS][colour])
        image = image.transpose(Image.FLIP_LEFT_RIGHT) if flip else image
        image = image.resize((side, side), Image.BICUBIC, reducing_gap=resample.GAP)
        picture.paste(image, (left, top), image)
    return np.asarray(picture)


def with_numpy(rgba: np.ndarray, side: int) -> np.ndarray:
    """uint8 [side, side, 4]: Pillow's resize from `resample` alone."""
    values = rgba.astype(np.int64)
    colours = values[..., :3] * values[..., 3:] + 128
    values[..., :3] = (colours + (colours >> 8)) >> 8
    step = resample.factor(side)
    if step > 1:
        size = resample.reduced(step)
        cells = np.zeros((size * step, size * step, 4), np.int64)
        cells[:256, :256] = values
        half, multiplier = resample.divisors(step)
        sums = cells.reshape(size, step, size, step, 4).sum((1, 3))
        values = ((sums + half[..., None]) * multiplier[..., None]) >> 24
    weights = resample.weights(side)
    for _ in range(2):  # along rows, then along columns
        sums = np.tensordot(weights, values.astype(np.float64), (1, 1))
        values = np.clip(np.floor((sums + 2**21) / 2**22), 0, 255).astype(np.int64)
    alpha = np.maximum(values[..., 3:], 1)
    values[..., :3] = np.minimum(255 * values[..., :3] // alpha, 255)
    return values.astype(np.uint8)


@pytest.mark.parametrize("side", [1, 2, 3, 5, 21, 22, 25, 26, 32, 33, 42, 43, 64, 65, 100, 255, 257, 400])
def test_a_resize_with_the_weights_is_pillows(side: int):
    rng = np.random.default_rng(side)
    rgba = rng.integers(0, 256, (256, 256, 4), np.uint8)
    rgba[:90, :, 3], rgba[200:, :, 3], rgba[:, 128:, :3] = 0, 255, 255 * (rng.random((256, 128, 3)) < 0.5)
    ours, theirs = (
        with_numpy(rgba, side),
        np.asarray(Image.fromarray(rgba).resize((side,) * 2, Image.BICUBIC, reducing_gap=2)),
    )
    assert np.array_equal(ours[..., 3], theirs[..., 3])
    # a colour nobody sees is not computed
    assert np.array_equal(ours[theirs[..., 3] > 0], theirs[theirs[..., 3] > 0])


@pytest.mark.parametrize("side", [1, 16, 64, 65, 255, 256, 512])
def test_weights_are_whole_and_add_up_to_one(side: int):
    weights = resample.weights(side)
    assert weights.shape == (side, resample.reduced(resample.factor(side)))
    assert np.array_equal(weights, np.trunc(weights))
    assert np.abs(weights.sum(1) - 2**22).max() <= np.count_nonzero(weights, 1).max() / 2
    assert np.abs(weights).sum(1).max() * 255 < 2**31


@pytest.mark.parametrize(("width", "height"), SHAPES)
def test_a_square_is_where_the_reference_places_it(width: int, height: int):
    rng = random.Random(width + height)
    for scene in sampled(40, width / height, 21):
        for thing in scene.things:
            thing.x += rng.uniform(-1, 1)
            thing.side *= rng.uniform(0, 1.5)
            image, corner = scenes.placed(thing, min(width, height), OBJECTS)
            assert packed.square(thing, min(width, height)) == (image.width, *corner)


def test_a_half_is_rounded_as_the_reference_rounds_it():
    for x in (0.25, 0.2578125, 0.265625):  # times 128, less half a side: halves among them
        for side in (0.1015625, 0.109375, 0.11328125):
            thing = scenes.Thing("apple", x, x, side)
            image, corner = scenes.placed(thing, 128, OBJECTS)
            assert packed.square(thing, 128) == (image.width, *corner)


def test_packing_loses_nothing_that_a_picture_shows(tmp_path: Path):
    drawn = sampled(12, 2, 22)
    drawn.append(scenes.Scene("single", "", [], ["black", "pink"], [-6.0, 5.9, 3.3]))
    np.savez_compressed(tmp_path / "scenes.npz", **packed.pack_scenes(drawn, 64, 32, OBJECTS))
    with np.load(tmp_path / "scenes.npz") as file:
        arrays = dict(file)
    packed.check(arrays, len(OBJECTS.names))
    for at, scene in enumerate(drawn):
        assert np.array_equal(unpacked(arrays, at), scenes.draw(scene, 64, 32, OBJECTS))


def test_scenes_keep_their_order_and_things_theirs():
    things = [scenes.Thing(name, 0.5, 0.5, 0.5) for name in ("apple", "dog", "key")]
    arrays = packed.pack_scenes(
        [scenes.Scene("many", "", things, ["white"]), scenes.Scene("single", "", things[1:2], ["white"])],
        32,
        32,
        OBJECTS,
    )
    assert [[OBJECTS.names[each] for each in row if each >= 0] for row in arrays["sprite"]] == [
        ["apple", "dog", "key"],
        ["dog"],
    ]


def one(**changed) -> scenes.Scene:
    thing = scenes.Thing(**({"name": "apple", "x": 0.5, "y": 0.5, "side": 0.5} | changed))
    return scenes.Scene("single", "", [thing], ["white"])


@pytest.mark.parametrize(
    ("drawn", "width", "said"),
    [
        ([one(name="unicorn")], 64, "scene 0 has a thing whose name is 'unicorn'"),
        ([one(), one(colour="beige")], 64, "scene 1 has a thing whose colour is 'beige'"),
        ([one(side=20)], 64, "side is 1280; expected at most 1024"),
        ([one(x=30)], 64, "has a thing at 1904, 16; expected at most 1088"),
        ([scenes.Scene("single", "", [], ["beige"])], 64, "background"),
        ([scenes.Scene("single", "", [], [])], 64, "background"),
        ([scenes.Scene("many", "", one().things * 17, ["white"])], 64, "a scene has 17 things; expected at most 16"),
        ([one()], 72, "width is 72; expected a multiple of 16"),
        ([one()], 2048, "width is 2048"),
        ([], 64, "there are 0 scenes"),
    ],
)
def test_a_scene_that_cannot_be_packed_is_refused(drawn: list[scenes.Scene], width: int, said: str):
    with pytest.raises(ValueError, match=said):
        packed.pack_scenes(drawn, width, 64, OBJECTS)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("sprite", np.int16([[64]]), "sprite holds 64; expected -1 to 63"),
        ("colour", np.uint8([[8]]), "colour holds 8; expected 0 to 7"),
        ("side", np.int16([[0]]), "side holds 0; expected 1 to 1024"),
        ("left", np.int32([[0]]), "left is int32"),
        ("flip", np.zeros((1, 2), np.bool_), "flip is bool"),
        ("ends", np.full((1, 2, 3), np.nan), "ends holds nan; expected 0 to 255"),
        ("height", np.int32(40), "height is 40"),
        ("top", None, "lack top"),
    ],
)
def test_arrays_that_are_no_packed_scenes_are_refused(field: str, value: np.ndarray | None, said: str):
    arrays = packed.pack_scenes([one()], 64, 64, OBJECTS)
    packed.check(arrays, 64)
    if value is None:
        del arrays[field]
    else:
        arrays[field] = value
    with pytest.raises(ValueError, match=said):
        packed.check(arrays, 64)


def test_an_archive_holds_the_packages_own_files_and_gives_them_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    few = vocabulary.Vocabulary({name: OBJECTS.objects[name] for name in ("apple", "airplane", "heart")}, {}, {})
    expected = {name: scenes.sprite(few, name, "blue").tobytes() for name in few.names}
    assert atlas.pack_sprites(few, tmp_path / "sprites.zip") == 3
    atlas.pack_sprites(few, tmp_path / "again.zip")
    assert (tmp_path / "sprites.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()
    assert atlas.unpack_sprites(tmp_path / "sprites.zip", tmp_path / "lab") == 3
    assert atlas.unpack_sprites(tmp_path / "sprites.zip", tmp_path / "lab") == 0  # they are there
    # a machine that has this folder alone
    (tmp_path / "lab/train").mkdir()
    monkeypatch.setattr(scenes, "HERE", str(tmp_path / "lab/train"))
    elsewhere = vocabulary.Vocabulary(few.objects, {}, {})
    assert {name: scenes.sprite(elsewhere, name, "blue").tobytes() for name in few.names} == expected
    with pytest.raises(FileNotFoundError):
        scenes.sprite(vocabulary.Vocabulary(OBJECTS.objects, {}, {}), "snowman", "purple")


@pytest.mark.parametrize("name", ["../../escaped.webp", "train/scenes.py", "node_modules/x/1f34e.webp"])
def test_an_archive_with_anything_else_is_refused(name: str, tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "sprites.zip", "w") as archive:
        archive.writestr(name, b"not a sprite")
    with pytest.raises(ValueError, match="the archive holds"):
        atlas.unpack_sprites(tmp_path / "sprites.zip", tmp_path / "lab")
    assert not (tmp_path / "lab").exists()


def test_the_atlas_holds_what_occurs_and_nothing_else():
    packs = [
        packed.pack_scenes([one(), one(name="dog", colour="red")], 64, 64, OBJECTS),
        packed.pack_scenes([one(colour="blue"), one()], 32, 64, OBJECTS),
    ]
    drawn = atlas.draw_atlas(packs, OBJECTS, 2)
    assert drawn.pixels.shape == (3, 256, 256, 4)
    assert np.count_nonzero(drawn.row >= 0) == 3
    for name, colour in (("apple", None), ("dog", "red"), ("apple", "blue")):
        at = drawn.row[OBJECTS.names.index(name), [None, *scenes.COLOURS].index(colour)]
        assert np.array_equal(drawn.pixels[at], np.asarray(scenes.sprite(OBJECTS, name, colour)))
