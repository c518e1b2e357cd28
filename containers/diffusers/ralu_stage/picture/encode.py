"""Pixels as files. The bytes depend on the pixels and the options alone: no metadata, and no clock enters."""

from __future__ import annotations

import math
from dataclasses import dataclass
from io import BytesIO

import numpy
from PIL import Image

MAX_PREVIEW_BYTES = 800 * 1024
_LOWEST_QUALITY = 30


def encode_image(rgb: numpy.ndarray, image_format: str, quality: int) -> bytes:
    """The picture uint8 [height, width, 3] as `png`, `webp` or `jpeg`. Law: a PNG decodes to the very pixels."""
    return _encode(Image.fromarray(rgb), image_format, quality)


@dataclass(frozen=True)
class SmallFile:
    """A file, and the size of its picture."""

    data: bytes
    width: int
    height: int


def encode_small(
    rgb: numpy.ndarray, image_format: str, longest_side: int, quality: int, max_bytes: int = MAX_PREVIEW_BYTES
) -> SmallFile:
    """The picture made smaller until its longest side is `longest_side`, never enlarged, at most `max_bytes` long.

    Where it is longer, the quality of a lossy format is lowered first, then the side is halved, until it fits.
    """
    picture = Image.fromarray(rgb)
    qualities = [quality] if image_format == "png" or quality <= _LOWEST_QUALITY else [quality, _LOWEST_QUALITY]
    side = longest_side
    while True:
        small = _shrink(picture, side)
        for each in qualities:
            data = _encode(small, image_format, each)
            if len(data) <= max_bytes or side == 1:
                return SmallFile(data, *small.size)
        side = math.ceil(side / 2)


def _shrink(picture: Image.Image, side: int) -> Image.Image:
    share = side / max(picture.size)
    if share >= 1:
        return picture
    return picture.resize([max(1, round(length * share)) for length in picture.size], Image.Resampling.LANCZOS)


def _encode(picture: Image.Image, image_format: str, quality: int) -> bytes:
    file = BytesIO()
    match image_format:
        case "png":
            picture.save(file, "PNG", compress_level=6)
        case "webp":
            picture.save(file, "WEBP", quality=quality)
        case "jpeg":
            picture.save(file, "JPEG", quality=quality)
        case _:
            raise ValueError(f"image_format is {image_format!r}, expected png, webp or jpeg")
    return file.getvalue()
