"""Whether tokens of two sizes lie on a grid without holes and overlaps. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy


@dataclass(frozen=True)
class Cover:
    """The full-resolution cells under the tokens, and how many of them one unit of a position id spans: 1 on the full
    grid's ids, 2 on the small grid's."""

    rows: int
    cols: int
    unit: int


def cover_fault(img_ids: numpy.ndarray, scale: numpy.ndarray, cover: Cover) -> str | None:
    """What keeps the tokens from covering each of rows x cols cells exactly once, or None when they do.

    A token at id (row, column) covers scale x scale cells from (row, column) * unit, which is a multiple of its scale.
    """
    side = scale.astype(numpy.float64)
    places = img_ids[:, 1:3].astype(numpy.float64) * cover.unit
    limits = numpy.array([cover.rows, cover.cols], numpy.float64)
    # a remainder of 0 by a side of 1 or 2 is a whole number too
    is_inside = (places % side[:, None] == 0) & (places >= 0) & (places + side[:, None] <= limits)
    outside = numpy.flatnonzero(~is_inside.all(axis=1))
    if len(outside) > 0:
        i = outside[0]
        return f"token {i} of scale {scale[i]} lies at cell ({places[i, 0]:g}, {places[i, 1]:g})"
    # one entry a covered cell, in the order of the tokens
    row, col = places.astype(numpy.int64).T
    down, right = numpy.divmod(numpy.arange(4), 2)
    is_cell = (down < scale[:, None]) & (right < scale[:, None])
    cells = ((row[:, None] + down) * cover.cols + col[:, None] + right)[is_cell]
    tokens = numpy.repeat(numpy.arange(len(scale)), scale.astype(numpy.int64) ** 2)
    counts = numpy.bincount(cells, minlength=cover.rows * cover.cols)
    if (counts > 1).any():
        cell = int((counts > 1).argmax())
        again = tokens[numpy.flatnonzero(cells == cell)[1]]
        return f"token {again} covers cell ({cell // cover.cols}, {cell % cover.cols}) again"
    if (counts == 0).any():
        hole = int((counts == 0).argmax())
        return f"nothing covers cell ({hole // cover.cols}, {hole % cover.cols})"
    return None
