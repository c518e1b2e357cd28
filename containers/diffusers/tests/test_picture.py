"""Pictures: enlarging, the grid of a mixed set, files."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path

import numpy
import pytest
from PIL import Image
from stage_requests import tokens_of

from ralu_stage.picture.encode import MAX_PREVIEW_BYTES, encode_image, encode_small
from ralu_stage.picture.enlarge import double_picture, fit_picture
from ralu_stage.picture.whole_grid import whole_grid


def noise(height: int, width: int, seed: int = 0) -> numpy.ndarray:
    return numpy.random.default_rng(seed).integers(0, 256, (height, width, 3), numpy.uint8)


def by_definition(rgb: numpy.ndarray) -> numpy.ndarray:
    """Keys' kernel, a = -1/2, at each new pixel's place between the old ones; borders repeat."""

    def kernel(x: float) -> float:
        x = abs(x)
        return 1.5 * x**3 - 2.5 * x**2 + 1 if x < 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x < 2 else 0.0

    def along(values: numpy.ndarray) -> numpy.ndarray:
        size = len(values)
        rows = []
        for i in range(2 * size):
            place = (i + 0.5) / 2 - 0.5
            near = range(int(numpy.floor(place)) - 1, int(numpy.floor(place)) + 3)
            rows.append(sum(kernel(place - j) * values[min(size - 1, max(0, j))] for j in near))
        return numpy.array(rows)

    doubled = along(along(rgb.astype(numpy.float64)).swapaxes(0, 1)).swapaxes(0, 1)
    return numpy.floor(doubled + 0.5).clip(0, 255)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 3), (7, 4), (16, 16)])
def test_a_doubled_picture_is_catmull_rom_by_its_definition(shape):
    rgb = noise(*shape)
    doubled = double_picture(rgb)
    assert doubled.dtype == numpy.uint8
    numpy.testing.assert_array_equal(doubled, by_definition(rgb))


def test_a_doubled_picture_has_the_bytes_of_the_other_server():
    # of doublePicture in src/numerics/enlarge.ts for the same picture
    i = numpy.arange(13 * 9 * 3)
    rgb = ((i * 73 + (i * i) % 251) % 256).astype(numpy.uint8).reshape(9, 13, 3)
    digest = hashlib.sha256(double_picture(rgb).tobytes()).hexdigest()
    assert digest == "845ea6b4a695036b48706e9e0ded0ec53c56bcf125f34dc032f19cdaf5c9857f"


@pytest.mark.parametrize(("width", "height"), [(96, 64), (70, 30), (33, 64), (10, 7)])
def test_a_picture_of_another_size_has_the_golden_pixels(width, height):
    # fitPicture in src/numerics/lanczos.ts is held to the same pictures
    golden = Path(__file__).parents[3] / "test" / "golden"
    rgb = numpy.asarray(Image.open(golden / "lanczos.png"))
    numpy.testing.assert_array_equal(
        fit_picture(rgb, width, height), numpy.asarray(Image.open(golden / f"lanczos.{width}x{height}.png"))
    )
    assert fit_picture(rgb, 24, 16) is rgb


def test_a_constant_picture_stays_constant_and_a_mirrored_one_mirrored():
    assert (double_picture(numpy.full((3, 5, 3), 201, numpy.uint8)) == 201).all()
    rgb = noise(6, 9)
    numpy.testing.assert_array_equal(double_picture(rgb[:, ::-1]), double_picture(rgb)[:, ::-1])
    numpy.testing.assert_array_equal(double_picture(rgb[::-1]), double_picture(rgb)[::-1])


@pytest.mark.parametrize("layout", ["low", "full", "mixed", "all-upsampled"])
def test_the_whole_grid_has_at_each_place_the_token_that_stands_there(layout):
    img_ids, scale = tokens_of(layout)
    order = numpy.random.default_rng(1).permutation(len(scale))
    img_ids, scale = img_ids[order], scale[order]
    rows, cols = (4, 8) if layout == "full" else (2, 4)
    grid = whole_grid(img_ids, scale, rows, cols)
    places = [(float(r), float(c)) for r in range(rows) for c in range(cols)]
    assert [tuple(place) for place in img_ids[grid, 1:].tolist()] == places


@pytest.mark.parametrize(
    ("places", "says"),
    [
        ([(0, 0)], "1 places"),
        ([(0, 0), (0, 0)], "1 places"),
        ([(0, 0), (0, 2)], "token 1"),
        ([(0, 0), (0, 0.25)], "token 1"),
        ([(0, 0), (-1, 1)], "token 1"),
    ],
)
def test_a_whole_grid_needs_every_place_once(places, says):
    img_ids = numpy.array([(0, *place) for place in places], numpy.float32)
    with pytest.raises(ValueError, match=says):
        whole_grid(img_ids, numpy.ones(len(places), numpy.uint8), 1, 2)


def opened(data: bytes) -> Image.Image:
    picture = Image.open(BytesIO(data))
    picture.load()
    return picture


@pytest.mark.parametrize("image_format", ["png", "webp", "jpeg"])
def test_a_file_has_the_size_the_format_and_no_metadata(image_format):
    rgb = noise(33, 47)
    data = encode_image(rgb, image_format, 80)
    picture = opened(data)
    assert (picture.format, picture.size, picture.mode) == (image_format.upper(), (47, 33), "RGB")
    assert len(picture.getexif()) == 0
    assert not {"exif", "icc_profile", "xmp", "comment", "text"} & picture.info.keys()
    assert encode_image(rgb, image_format, 80) == data


def test_a_png_holds_the_very_pixels():
    rgb = noise(33, 47)
    numpy.testing.assert_array_equal(numpy.asarray(opened(encode_image(rgb, "png", 1))), rgb)


def test_a_lower_quality_takes_fewer_bytes():
    for image_format in ("webp", "jpeg"):
        assert len(encode_image(noise(64, 64), image_format, 20)) < len(encode_image(noise(64, 64), image_format, 90))


def test_an_unknown_format_is_an_error():
    with pytest.raises(ValueError, match="gif"):
        encode_image(noise(4, 4), "gif", 80)


@pytest.mark.parametrize(
    ("shape", "side", "size"),
    [
        ((64, 128), 32, (32, 16)),
        ((128, 64), 32, (16, 32)),
        ((64, 64), 64, (64, 64)),
        ((20, 30), 64, (30, 20)),
        ((16, 1024), 16, (16, 1)),
    ],
)
def test_a_preview_is_made_smaller_and_never_larger(shape, side, size):
    assert opened(encode_small(noise(*shape), "webp", side, 80).data).size == size


def test_a_preview_that_is_too_long_loses_quality_first_and_then_size():
    rgb = noise(256, 256)

    def size(image_format: str, max_bytes: int) -> tuple[int, int]:
        file = encode_small(rgb, image_format, 256, 95, max_bytes)
        assert opened(file.data).size == (file.width, file.height)
        return file.width, file.height

    best = encode_small(rgb, "jpeg", 256, 95).data
    worse = encode_small(rgb, "jpeg", 256, 95, max_bytes=len(best) - 1).data
    assert opened(worse).size == (256, 256)
    assert len(worse) < len(best)
    assert size("jpeg", len(worse) - 1) == (128, 128)
    assert size("png", len(encode_image(rgb, "png", 95)) - 1) == (128, 128)
    assert size("png", 1) == (1, 1)


def test_no_preview_is_longer_than_the_contract_allows():
    assert len(encode_small(noise(1024, 1024), "png", 1024, 100).data) <= MAX_PREVIEW_BYTES
