"""Where things stand in a picture. Lengths are in units of its shorter side; a cell is a square (x, y of its centre,
edge) in which a thing has room.
"""

import random

FIXED = (0.8, 0.8)  # least and greatest side of an object in a scene that is not free, of its cell


def place(count: int, aspect: float, across: bool, rng: random.Random) -> list[tuple[float, float, float]]:
    """Centre and greatest side of `count` things that cannot touch: reading order; `across` puts two side by side
    rather than one above the other.
    """
    w, h = max(aspect, 1), max(1 / aspect, 1)
    if count == 1:
        cells = [(w / 2, h / 2, 1)]
    elif aspect > 1.5:
        cells = [((i + 0.5) * w / count, h / 2, min(w / count, 1)) for i in range(count)]
    elif aspect < 0.67:
        cells = [(w / 2, (i + 0.5) * h / count, min(h / count, 1)) for i in range(count)]
    elif count == 2:
        cells = [(0.25, 0.5, 0.5), (0.75, 0.5, 0.5)] if across else [(0.5, 0.25, 0.5), (0.5, 0.75, 0.5)]
    elif count == 3:
        cells = (
            [(0.25, 0.25, 0.5), (0.75, 0.25, 0.5), (0.5, 0.75, 0.5)]
            if rng.random() < 0.5
            else [(0.5, 0.25, 0.5), (0.25, 0.75, 0.5), (0.75, 0.75, 0.5)]
        )
    else:
        cells = [(0.25, 0.25, 0.5), (0.75, 0.25, 0.5), (0.25, 0.75, 0.5), (0.75, 0.75, 0.5)]
    return cells


def settle(cell: tuple[float, float, float], low: float, high: float, rng: random.Random) -> tuple[float, float, float]:
    """A side between `low` and `high` of the cell, and a centre that keeps it inside both the cell and the picture."""
    x, y, room = cell
    side = rng.uniform(low, high) * room
    slack = (room - side) / 2 * 0.4 if low < high else 0  # a side without choice has a place without choice
    return x + rng.uniform(-slack, slack), y + rng.uniform(-slack, slack), side
