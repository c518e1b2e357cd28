"""Pillow's resize of a square sprite as whole numbers, so that matrix products on any device repeat it to the bit.

Pillow 13 resizes RGBA with BICUBIC and `reducing_gap=2` in three steps, each rounded to 8 bits: premultiply by alpha;
average cells of `factor` x `factor` pixels (`reduce`, only for a factor above 1); weigh neighbours along rows, then
along columns. The weights are rounded to multiples of 2^-22, so every sum is a whole number below 2^31. Source:
Pillow's Image.resize, Reduce.c, Resample.c.
"""

import numpy as np

SOURCE = 256  # edge of a sprite
GAP = 2  # reducing_gap of `scenes.placed`
BITS = 22  # of a weight's fraction
SUPPORT = 2.0  # of the bicubic filter, in source pixels


def factor(side: int) -> int:
    """Edge of the cells that are averaged first when a sprite gets `side` pixels a side; 1: none are."""
    return int(SOURCE / side / GAP) or 1


def reduced(step: int) -> int:
    """Edge of the sprite after cells of `step` x `step` pixels are averaged; a last cell cut by the rim counts."""
    return -(-SOURCE // step)


def divisors(step: int) -> tuple[np.ndarray, np.ndarray]:
    """(half, multiplier), int64 [reduced, reduced]: a cell's mean is (sum + half) * multiplier >> 24. Cells in the last
    column and row may hold fewer pixels.
    """
    edges = np.minimum(step, SOURCE - step * np.arange(reduced(step)))
    pixels = edges[:, None] * edges
    # Pillow divides in single precision and drops the fraction
    return pixels // 2, (np.float32(2**32) / (256 * pixels).astype(np.float32)).astype(np.int64)


def bicubic(x: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -0.5, in the order of operations that Pillow computes it in."""
    x = np.abs(x)
    near, far = ((-0.5 + 2.0) * x - (-0.5 + 3.0)) * x * x + 1, (((x - 5) * x + 8) * x - 4) * -0.5
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def weights(side: int) -> np.ndarray:
    """float64 [side, reduced]: whole numbers in units of 2^-22. The matrix takes the rows, or the columns, of a reduced
    sprite to `side` of them. Law: each of its rows adds up to 2^22, but for the rounding of its values.
    """
    size = reduced(factor(side))
    scale = float(np.float32(SOURCE / factor(side))) / side  # the box is in single precision
    spread = max(scale, 1.0)
    centre = ((np.arange(side) + 0.5) * scale)[:, None]
    first = np.maximum(0, np.trunc(centre - SUPPORT * spread + 0.5))
    last = np.minimum(size, np.trunc(centre + SUPPORT * spread + 0.5))
    at = np.arange(size)
    values = np.where((first <= at) & (at < last), bicubic((at - centre + 0.5) * (1.0 / spread)), 0.0)
    values /= np.cumsum(values, 1)[:, -1:]  # added one by one, as Pillow does
    return np.trunc(values * 2**BITS + np.where(values < 0, -0.5, 0.5))
