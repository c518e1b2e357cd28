"""A picture at twice its size, or at any other. Pure."""

from __future__ import annotations

import numpy
from PIL import Image, ImageOps

# Catmull-Rom a quarter of a pixel right of the second tap, in 128ths: they sum to 1
_TAPS = (-9, 111, 29, -3)
_UNIT_BITS = 14  # 128 along each axis


def fit_picture(rgb: numpy.ndarray, width: int, height: int) -> numpy.ndarray:
    """uint8 [height, width, 3]: the middle of the picture at another size, by Lanczos of three lobes.

    Where the aspect ratios differ, what does not fit is cut off on both sides alike, and nothing is stretched. Law: a
    picture at its own size is itself.
    """
    if rgb.shape[:2] == (height, width):
        return rgb
    return numpy.asarray(ImageOps.fit(Image.fromarray(rgb), (width, height), Image.Resampling.LANCZOS))


def double_picture(rgb: numpy.ndarray) -> numpy.ndarray:
    """uint8 [2 * height, 2 * width, 3] of uint8 [height, width, 3], by Catmull-Rom along both axes; borders repeat.

    A new pixel lies a quarter of an old one from the nearest old centre, so the taps are the same everywhere and whole
    numbers: the bytes are the same on every machine. Laws: a constant picture stays constant; a mirrored picture gives
    the mirrored result. Source: Keys, "Cubic convolution interpolation for digital image processing", 1981, a = -1/2.
    """
    wide = _double(rgb.astype(numpy.int32), axis=1)
    doubled = _double(wide, axis=0)
    # half a unit rounds halves up
    rounded = (doubled + (1 << (_UNIT_BITS - 1))) >> _UNIT_BITS
    return rounded.clip(0, 255).astype(numpy.uint8)


def _double(values: numpy.ndarray, axis: int) -> numpy.ndarray:
    """128 times the values at twice the places along `axis`."""
    size = values.shape[axis]
    padded = numpy.pad(values, [(2, 2) if i == axis else (0, 0) for i in range(values.ndim)], mode="edge")

    def shifted(by: int) -> numpy.ndarray:
        return numpy.take(padded, range(2 + by, 2 + by + size), axis=axis)

    # an even pixel lies left of its old one's centre, an odd one right of it
    even = sum(tap * shifted(k - 2) for k, tap in enumerate(reversed(_TAPS)))
    odd = sum(tap * shifted(k - 1) for k, tap in enumerate(_TAPS))
    pairs = numpy.stack([even, odd], axis=axis + 1)
    return pairs.reshape([2 * size if i == axis else length for i, length in enumerate(values.shape)])
