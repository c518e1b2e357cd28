"""What colours latents have, roughly: a linear map from a latent pixel to a few picture pixels, fitted once to the
model's own decoder. Looking at a running stage then costs a matrix product, no decoding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy

_MOST_SIDE = 4
"""most pixels a side that are fitted for a latent pixel"""
_GRID = 16
"""tokens a side of what is decoded for the fit, in patches of one colour"""
_PATCH = 4
"""latent pixels a side of a patch: more than a decoder looks around itself for most of what it shows"""
_DEVIATION = 0.5
_LEAST = 4
"""latent pixels an unknown that have to be left where the clipped ones are not counted"""
_RIDGE = 0.1
"""added to the diagonal, so that a channel that shows nothing has no colour"""


@dataclass(frozen=True)
class Colours:
    """A map for each of a token's 2 x 2 places, since a family may normalise each by itself."""

    weights: numpy.ndarray
    """[2, 2, channels + 1, side, side, 3] float64; the last channel is what zeros show, RGB in 0..255"""

    @property
    def side(self) -> int:
        """Picture pixels that a latent pixel becomes, on each side."""
        return self.weights.shape[3]


def fit_colours(
    decode: Callable[[numpy.ndarray, int, int], numpy.ndarray], channels: int, token_pixels: int
) -> Colours:
    """The map that comes closest, by least squares, to what `decode` gives for seeded patches of colour.

    `decode` takes latents [rows * cols, 4C] float32, rows and columns, and gives pixels as `Model.decode` does. Where
    a pixel is clipped, what the decoder meant is not known, and the latent pixel is left out unless too few are left.
    The same each time. Raises what `decode` raises.
    """
    across = 2 * _GRID
    patches = numpy.random.default_rng(0).standard_normal((channels, across // _PATCH, across // _PATCH))
    latents = _DEVIATION * patches.repeat(_PATCH, axis=1).repeat(_PATCH, axis=2)
    # tokens (row column) of values (channel i j)
    squares = latents.reshape(channels, _GRID, 2, _GRID, 2)
    tokens = squares.transpose(1, 3, 0, 2, 4).reshape(_GRID * _GRID, 4 * channels)
    rgb = decode(tokens.astype(numpy.float32), _GRID, _GRID)
    cell = token_pixels // 2
    side = max(part for part in range(1, _MOST_SIDE + 1) if cell % part == 0)
    parts = rgb.reshape(_GRID, 2, side, cell // side, _GRID, 2, side, cell // side, 3).mean(axis=(3, 7))
    weights = numpy.empty((2, 2, channels + 1, side, side, 3))
    for i in range(2):
        for j in range(2):
            known = squares[:, :, i, :, j].reshape(channels, -1).T
            shown = parts[:, i, :, :, j].transpose(0, 2, 1, 3, 4).reshape(_GRID * _GRID, -1)
            weights[i, j] = _fit(known, shown).reshape(channels + 1, side, side, 3)
    return Colours(weights)


def paint(colours: Colours, latents: numpy.ndarray, rows: int, cols: int, longest_side: int) -> numpy.ndarray:
    """The picture, uint8 [height, width, 3], of latents [rows * cols, 4C] on a whole grid: about as large as
    `longest_side`, and not much smaller where the map has the pixels for it."""
    side, longest = colours.side, 2 * max(rows, cols)
    parts = [part for part in range(1, side + 1) if side % part == 0]
    part = next((part for part in parts if part * longest >= longest_side), side)
    step = side // part
    weights = colours.weights
    weights = weights.reshape(*weights.shape[:3], part, step, part, step, 3).mean(axis=(4, 6))
    # a = row, b = column of the token; i, j = its latent pixel; u, v = the parts of that
    squares = latents.reshape(rows, cols, -1, 2, 2)
    pixels = numpy.einsum("abcij,ijcuvk->aiubjvk", squares, weights[:, :, :-1], optimize=True)
    pixels = pixels + weights[:, :, -1].transpose(0, 2, 1, 3, 4)[None, :, :, None]
    return pixels.reshape(2 * rows * part, 2 * cols * part, 3).round().clip(0, 255).astype(numpy.uint8)


def _fit(known: numpy.ndarray, shown: numpy.ndarray) -> numpy.ndarray:
    """[m + 1, n] that takes `known` [s, m], and 1 beside it, nearest to `shown` [s, n]."""
    is_open = ((shown > 0) & (shown < 255)).all(axis=1)
    if is_open.sum() >= _LEAST * (known.shape[1] + 1):
        known, shown = known[is_open], shown[is_open]
    known = numpy.column_stack([known, numpy.ones(len(known))])
    return numpy.linalg.solve(known.T @ known + _RIDGE * numpy.eye(known.shape[1]), known.T @ shown)
