"""Which tokens of a set make its picture, laid out as a decoder takes them. Pure."""

from __future__ import annotations

import numpy


def whole_grid(img_ids: numpy.ndarray, scale: numpy.ndarray, rows: int, cols: int) -> numpy.ndarray:
    """[rows * cols] the tokens at whole places, row by row: all of a grid of one resolution; of a mixed one the low
    tokens, and for the four children of a block its child (0, 0).

    A model is told where a token stands, not how large it is: a full token of a mixed grid is painted as a low one
    would be there. So the child at the parent's own place is the low token, and the other three are left out. Raises
    ValueError unless every place of the rows x cols grid, counted in ids, has exactly one token.
    """
    places = img_ids[:, 1:3]
    is_child = (scale == 1) & (2 * places % 1 == 0).all(axis=1) & (places % 1 != 0).any(axis=1)
    tokens = numpy.flatnonzero(~is_child)
    row, col = places[tokens].T
    is_inside = (row % 1 == 0) & (col % 1 == 0) & (row >= 0) & (row < rows) & (col >= 0) & (col < cols)
    expected = f"expected every place of the {rows} x {cols} grid exactly once"
    if not is_inside.all():
        token = tokens[is_inside.argmin()]
        raise ValueError(f"img_ids has token {token} at {tuple(places[token].tolist())}; {expected}")
    cells = (row * cols + col).astype(numpy.int64)
    if len(cells) != rows * cols or len(numpy.unique(cells)) != len(cells):
        raise ValueError(f"img_ids has {len(numpy.unique(cells))} places for {len(cells)} tokens; {expected}")
    grid = numpy.empty(rows * cols, numpy.int64)
    grid[cells] = tokens
    return grid
