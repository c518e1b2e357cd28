"""Where things stand in a picture. Lengths are in units of its shorter side; `aspect` is width / height.

`place` and `settle` have cells, squares (x, y of the centre, edge), the same for every picture of as many things;
`lay_out` has boxes (left, top, width, height) of any shape and place. Things in different cells or boxes never touch.
"""

import random

Box = tuple[float, float, float, float]
Spot = tuple[float, float, float]  # x, y of a thing's centre, and its side

FIXED = (0.8, 0.8)  # least and greatest side of a thing in the pictures of the evaluation, of its cell


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


# ---- free layouts ----

# No thing is less than LEAST pixels wide in the smallest picture, whose longer side has SMALLEST: what is narrower
# cannot be told from others and teaches nothing. In a picture of that size or larger, one pixel of it stays free around
# every box, so that things neither overlap nor leave the picture after their corners are rounded to pixels.
LEAST, SMALLEST = 20, 128
# the side of a thing in shares of its room, by the word for its size: alone in the picture, and one of several
ALONE = {None: (0.58, 0.86), "small": (0.26, 0.42), "large": (0.92, 1.0)}
SEVERAL = {None: (0.7, 0.88), "small": (0.44, 0.56), "large": (0.94, 1.0)}
TRIES = 20


def pixel(aspect: float) -> float:
    """One pixel of the smallest picture, in shorter sides."""
    return max(aspect, 1 / aspect) / SMALLEST


def canvas(aspect: float) -> Box:
    return 0, 0, max(aspect, 1), max(1 / aspect, 1)


def cut(box: Box, count: int, rng: random.Random, across: bool | None = None) -> list[Box]:
    """`count` boxes that fill the box: it is cut in two, about as large as what comes into each, and so on; rather
    through its longer side. `across` says how the first cut goes: side by side, or one above the other.
    """
    if count == 1:
        return [box]
    x, y, w, h = box
    if across is None:
        across = rng.random() < w**2 / (w**2 + h**2)
    first = rng.randint(1, count - 1)
    share = first / count + rng.uniform(-0.1, 0.1)
    parts = (
        [(x, y, w * share, h), (x + w * share, y, w * (1 - share), h)]
        if across
        else [(x, y, w, h * share), (x, y + h * share, w, h * (1 - share))]
    )
    return [*cut(parts[0], first, rng), *cut(parts[1], count - first, rng)]


def grid(count: int, aspect: float, rng: random.Random) -> list[Box]:
    """`count` equal squares in rows and columns that they fill, close together anywhere in the picture."""
    _, _, w, h = canvas(aspect)
    forms = [(n, count // n) for n in range(1, count + 1) if count % n == 0]  # columns, rows
    rooms = [min(w / columns, h / rows) for columns, rows in forms]
    (columns, rows), room = rng.choices(list(zip(forms, rooms, strict=True)), [room**2 for room in rooms])[0]
    edge = room * rng.uniform(0.8, 1)
    x, y = rng.uniform(0, w - columns * edge), rng.uniform(0, h - rows * edge)
    return [(x + i * edge, y + j * edge, edge, edge) for j in range(rows) for i in range(columns)]


def within(low: float, high: float, rng: random.Random) -> float:
    """Anywhere between, every second time near the middle."""
    half = (high - low) / 2 * (0.4 if rng.random() < 0.5 else 1)
    return rng.uniform((low + high) / 2 - half, (low + high) / 2 + half)


def lay_out(sizes: list[str | None], kinds: list[int], aspect: float, rng: random.Random, task: str) -> list[Spot]:
    """Where things stand, thing i of kind `kinds[i]` and of the size `sizes[kinds[i]]`. Things of a kind are equally
    large. Where sizes are said, a small thing is smaller and a large one larger than all of no said size.

    Of task `position` the first is left of the second or above it, at most half as far off in the other direction.
    Empty where the sizes that are said leave a thing less than LEAST pixels.
    """
    count, spans = len(kinds), ALONE if len(kinds) == 1 else SEVERAL
    for _ in range(TRIES):
        across = rng.random() < (0.75 if aspect > 1 else 0.25 if aspect < 1 else 0.5) if task == "position" else None
        is_grid = task == "counting" and rng.random() < 0.5
        boxes = grid(count, aspect, rng) if is_grid else cut(canvas(aspect), count, rng, across)
        if not is_grid and across is None:
            rng.shuffle(boxes)
        free, rooms = pixel(aspect), [min(w, h) for _, _, w, h in boxes]
        # equal rooms make sizes comparable: of the scene, or of the kind
        said = any(sizes)
        room = [
            min(r for r, kind in zip(rooms, kinds, strict=True) if said or kind == each) - 2 * free
            for each in range(len(sizes))
        ]
        sides = [r * rng.uniform(*spans[size]) for r, size in zip(room, sizes, strict=True)]
        if min(sides) >= LEAST * free:
            break
    else:
        return [] if any(sizes) else [settle(cell, *FIXED, rng) for cell in place(count, aspect, True, rng)]
    spots = []
    for (x, y, w, h), kind in zip(boxes, kinds, strict=True):
        side = sides[kind]
        rim = free + side / 2
        spots.append(
            (x + w / 2, y + h / 2, side)
            if is_grid
            else (within(x + rim, x + w - rim, rng), within(y + rim, y + h - rim, rng), side)
        )
    return nearly_level(spots, across) if task == "position" else spots


def nearly_level(spots: list[Spot], across: bool) -> list[Spot]:
    """The second of two is moved towards the level of the first (its column, unless they stand side by side) until it
    is at most half as far off in that direction as in the other.
    """
    along, off = (0, 1) if across else (1, 0)
    first, second = list(spots[0]), list(spots[1])
    reach = 0.5 * (second[along] - first[along])
    second[off] = min(max(second[off], first[off] - reach), first[off] + reach)
    return [tuple(first), tuple(second)]
