"""Scenes as arrays: all that their pictures of one shape depend on, rounded as `scenes.placed` and `scenes.draw` do.

    width, height                  int32 []             of the picture
    sprite                         int16 [scenes, most] index of the thing's name in its vocabulary; -1: no thing
    colour                         uint8 [scenes, most] 1 + index in scenes.COLOURS; 0: as it is
    side, left, top                int16 [scenes, most] its square in pixels; it may reach over the rim
    flip                           bool  [scenes, most]
    ends                           float64 [scenes, 2, 3] background at the top and at the bottom, in levels

`most` is the greatest number of things in a scene. Things keep their order: a later one covers an earlier one.
"""

from collections.abc import Sequence

import numpy as np

import scenes
from vocabulary import Vocabulary

TOKEN = 16  # pixels a side of a token
GREATEST = {"width": 1024, "height": 1024, "side": 1024, "things": 16}
FIELDS = {"sprite": np.int16, "colour": np.uint8, "side": np.int16, "left": np.int16, "top": np.int16, "flip": np.bool_}


def square(thing: scenes.Thing, short: int) -> tuple[int, int, int]:
    """(side, left, top) in pixels of a picture whose shorter side is `short`. Law: those of `scenes.placed`."""
    side = max(1, round(thing.side * short))
    return side, round(thing.x * short - side / 2), round(thing.y * short - side / 2)


def check_shape(width: int, height: int) -> None:
    for field, value in (("width", width), ("height", height)):
        if value % TOKEN or not TOKEN <= value <= GREATEST[field]:
            raise ValueError(
                f"{field} is {value}; expected a multiple of {TOKEN} from {TOKEN} to {GREATEST[field]} pixels"
            )


def pack_scenes(
    drawn: Sequence[scenes.Scene], width: int, height: int, vocabulary: Vocabulary
) -> dict[str, np.ndarray]:
    """The arrays above, in the scenes' order. Raises ValueError that names the scene, field and value when a scene
    holds an object, colour or background that is not known, too many things, or one too large or out of reach.
    """
    check_shape(width, height)
    if not drawn:
        raise ValueError("there are 0 scenes; expected at least one")
    names = {name: at for at, name in enumerate(vocabulary.names)}
    colours = {None: 0} | {name: 1 + at for at, name in enumerate(scenes.COLOURS)}
    most = max(1, *(len(scene.things) for scene in drawn))
    if most > GREATEST["things"]:
        raise ValueError(f"a scene has {most} things; expected at most {GREATEST['things']}")
    result = {"width": np.int32(width), "height": np.int32(height)}
    result |= {field: np.zeros((len(drawn), most), kind) for field, kind in FIELDS.items()}
    result["sprite"][:] = -1
    result["ends"] = np.empty((len(drawn), 2, 3))
    reach = GREATEST["side"] + max(width, height)
    for at, scene in enumerate(drawn):
        for slot, thing in enumerate(scene.things):
            for field, value, known in (("name", thing.name, names), ("colour", thing.colour, colours)):
                if value not in known:
                    raise ValueError(
                        f"scene {at} has a thing whose {field} is {value!r}; it is not one of {len(known)}"
                    )
            side, left, top = square(thing, min(width, height))
            if side > GREATEST["side"]:
                raise ValueError(f"scene {at} has a thing whose side is {side}; expected at most {GREATEST['side']}")
            if max(abs(left), abs(top)) > reach:
                raise ValueError(f"scene {at} has a thing at {left}, {top}; expected at most {reach} pixels away")
            values = names[thing.name], colours[thing.colour], side, left, top, thing.flip
            for field, value in zip(FIELDS, values, strict=True):
                result[field][at, slot] = value
        if not 1 <= len(scene.background) <= 2 or not set(scene.background) <= set(scenes.BACKGROUNDS):
            raise ValueError(f"scene {at} has the background {scene.background}; expected one or two that are known")
        # in single precision plus in double, as in `scenes.draw`
        levels = [np.array(scenes.BACKGROUNDS[name], np.float32) + scene.jitter for name in scene.background]
        result["ends"][at] = np.clip([levels[0], levels[-1]], 0, 255)
    return result


def some(packed: dict[str, np.ndarray], index: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
    """The packed scenes at `index`, in its order. Raises IndexError when there is no such scene."""
    index, count = np.asarray(index), min(len(each) for each in packed.values() if each.ndim)
    if index.ndim != 1 or not index.size or index.min() < 0 or index.max() >= count:
        raise IndexError(f"index is {index}; expected a list of one or more from 0 to {count - 1}")
    return {field: each[index] if each.ndim else each for field, each in packed.items()}


def check(packed: dict[str, np.ndarray], objects: int) -> None:
    """Raises ValueError that names the array when `packed` is none that `pack_scenes` makes with so many objects."""
    missing = {"width", "height", *FIELDS, "ends"} - set(packed)
    if missing:
        raise ValueError(f"packed scenes lack {', '.join(sorted(missing))}")
    check_shape(int(packed["width"]), int(packed["height"]))
    shape = packed["sprite"].shape
    if len(shape) != 2 or not 1 <= shape[1] <= GREATEST["things"]:
        raise ValueError(f"sprite has shape {shape}; expected [scenes, 1 to {GREATEST['things']}]")
    kinds = FIELDS | {"ends": np.float64}
    for field, kind in kinds.items():
        expected = (shape[0], 2, 3) if field == "ends" else shape
        if packed[field].dtype != kind or packed[field].shape != expected:
            raise ValueError(
                f"{field} is {packed[field].dtype} {packed[field].shape}; expected {np.dtype(kind)} {expected}"
            )
    there = packed["sprite"] >= 0
    limits = {
        "sprite": (-1, objects - 1),
        "colour": (0, len(scenes.COLOURS)),
        "side": (1, GREATEST["side"]),
        "ends": (0, 255),
    }
    for field, (low, high) in limits.items():
        values = packed[field] if field in ("sprite", "ends") else packed[field][there]
        wrong = values[~((values >= low) & (values <= high))]  # a value that is not a number is wrong too
        if wrong.size:
            raise ValueError(f"{field} holds {wrong[0]}; expected {low} to {high}")
