"""Scenes: one to four emoji on a plain or graded background, with the sentence that describes them.

Lengths are in units of the picture's shorter side, so one scene can be drawn at any size. `sample` is a pure function
of its random generator. Whatever mixes a held-out combination (`is_held_out`) is for evaluation only; every single
object and every single colour is seen in training.
"""

import colorsys
import hashlib
import json
import os
import random
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image

import words
from layouts import lay_out
from vocabulary import Vocabulary

HERE = os.path.dirname(os.path.abspath(__file__))
BACKGROUNDS = {
    "white": (255, 255, 255),
    "black": (26, 26, 30),
    "gray": (150, 150, 154),
    "red": (214, 48, 49),
    "orange": (244, 144, 48),
    "yellow": (250, 216, 80),
    "green": (72, 172, 80),
    "blue": (62, 128, 240),
    "purple": (140, 82, 196),
    "pink": (246, 160, 198),
    "brown": (122, 82, 56),
}
COLOURS = {name: tuple(rgb) for name, rgb in json.loads(Path(HERE, "colours.json").read_text()).items()}
TASKS = {"single": 0.40, "two": 0.13, "position": 0.14, "counting": 0.14, "attribution": 0.12, "many": 0.07}


@dataclass
class Thing:
    """`x`, `y` the centre and `side` the edge of its square, in shorter sides; `colour` only where recoloured."""

    name: str
    x: float
    y: float
    side: float
    colour: str | None = None
    flip: bool = False


@dataclass
class Scene:
    task: str
    caption: str
    things: list[Thing]
    background: list[str]  # one name: plain; two: top to bottom
    jitter: list[float] = field(default_factory=lambda: [0, 0, 0])  # of the background, in levels


# ---- sprites ----

SOURCES = {
    "fluent": ("../node_modules/@lobehub/fluent-emoji-3d/assets", "{0}.webp"),
    "noto": ("../node_modules/asturur-noto-emoji/png/128", "emoji_u{0}.png"),
}


@lru_cache(512)
def sprite(vocabulary: Vocabulary, name: str, colour: str | None = None, style: str = "fluent") -> Image.Image:
    """RGBA 256 x 256, cut to its visible part and centred, recoloured when `colour` is given. Raises FileNotFoundError
    when the style has no such emoji.
    """
    image = as_it_is(vocabulary, name, style)
    return repainted(image, *main_part(vocabulary, name, style), COLOURS[colour]) if colour else image


@lru_cache(512)
def as_it_is(vocabulary: Vocabulary, name: str, style: str) -> Image.Image:
    """`sprite` in its own colours."""
    folder, pattern = SOURCES[style]
    code = vocabulary.objects[name] if style == "fluent" else vocabulary.objects[name].replace("-fe0f", "")
    image = Image.open(os.path.join(HERE, folder, pattern.format(code))).convert("RGBA")
    image = image.crop(image.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox())
    scale = 256 / max(image.size)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.LANCZOS)
    square = Image.new("RGBA", (256, 256))
    square.paste(image, ((256 - image.width) // 2, (256 - image.height) // 2))
    return square


@lru_cache(512)
def main_part(vocabulary: Vocabulary, name: str, style: str) -> tuple[np.ndarray, np.ndarray]:
    """`dominant` of its own colours, without the share: kept, because every colour needs it."""
    return dominant(as_it_is(vocabulary, name, style))[1:]


def hsv(image: Image.Image) -> np.ndarray:
    """uint8 [h, w, 3]."""
    return np.array(image.convert("RGB").convert("HSV"))


def dominant(image: Image.Image) -> tuple[float, np.ndarray, np.ndarray]:
    """(share of the visible pixels within 40° of the commonest hue, their mask, the median HSV among them)."""
    levels, visible = hsv(image), np.asarray(image.getchannel("A")) > 128
    lively = visible & (levels[..., 1] > 0.25 * 255) & (levels[..., 2] > 0.2 * 255)
    if not lively.any():
        return 0.0, lively, np.zeros(3)
    pixels = levels[lively].astype(np.float32) / 255
    counts, edges = np.histogram(pixels[:, 0], 36, (0, 1))
    counts = counts + np.roll(counts, 1) + np.roll(counts, -1)  # hue is a circle
    hue = edges[counts.argmax()] + 0.5 / 36
    is_near = np.abs((pixels[:, 0] - hue + 0.5) % 1 - 0.5) < 40 / 360
    mask = lively.copy()
    mask[lively] = is_near
    return float(mask.sum() / visible.sum()), mask, np.median(pixels[is_near], 0)


@lru_cache(None)
def can_recolour(vocabulary: Vocabulary, name: str, style: str = "fluent") -> bool:
    return dominant(sprite(vocabulary, name, None, style))[0] > 0.55


def recolour(image: Image.Image, rgb: tuple[int, int, int]) -> Image.Image:
    """Its commonest hue becomes that of `rgb`; relative saturation and brightness, so shading and highlights, stay."""
    return repainted(image, *dominant(image)[1:], rgb)


def repainted(image: Image.Image, mask: np.ndarray, middle: np.ndarray, rgb: tuple[int, int, int]) -> Image.Image:
    """The image with the hue of `rgb` where the mask is, whose median HSV `middle` becomes that of `rgb`."""
    h, s, v = colorsys.rgb_to_hsv(*(c / 255 for c in rgb))
    levels = hsv(image)
    _, saturation, brightness = levels[mask].T.astype(np.float32) / 255
    changed = [
        np.full_like(saturation, h),
        np.clip(saturation / middle[1] * s, 0, 1),
        np.clip(brightness / middle[2] * v, 0, 1),
    ]
    levels[mask] = (np.stack(changed, -1) * 255).round()
    result = Image.fromarray(levels, "HSV").convert("RGB")
    result.putalpha(image.getchannel("A"))
    return result


@lru_cache(None)
def main_rgb(vocabulary: Vocabulary, name: str, colour: str | None = None, style: str = "fluent") -> np.ndarray:
    """Mean colour [3] of the pixels of its commonest hue, of all visible ones where no hue dominates."""
    image = sprite(vocabulary, name, colour, style)
    share, mask, _ = dominant(image)
    return np.asarray(image.convert("RGB"))[mask if share > 0.45 else np.asarray(image.getchannel("A")) > 128].mean(0)


@lru_cache(None)
def natural_colour(vocabulary: Vocabulary, name: str, style: str = "fluent") -> str | None:
    """The colour word that holds for it as it is; None where no hue dominates or none of the words is near."""
    palette = {each: np.array(rgb) for each, rgb in (COLOURS | {"brown": BACKGROUNDS["brown"]}).items()}
    rgb = main_rgb(vocabulary, name, None, style)
    word = min(palette, key=lambda each: np.square(palette[each] - rgb).sum())
    is_plain = dominant(sprite(vocabulary, name, None, style))[0] > 0.7
    return word if is_plain and np.square(palette[word] - rgb).sum() < 75**2 else None


@lru_cache(None)
def is_lost(vocabulary: Vocabulary, name: str, colour: str | None, background: str, style: str = "fluent") -> bool:
    """Whether its main colour is nearly that of the background."""
    distance = np.square(main_rgb(vocabulary, name, colour, style) - BACKGROUNDS[background]).sum()
    return bool(distance < 75**2)


# ---- drawing ----


def placed(
    thing: Thing, short: int, vocabulary: Vocabulary, style: str = "fluent"
) -> tuple[Image.Image, tuple[int, int]]:
    """Its sprite at its size in a picture whose shorter side is `short`, and its upper left corner there. Pillow makes
    one of up to 64 pixels in two steps, the mean of whole cells of pixels first.
    """
    side = max(1, round(thing.side * short))
    image = sprite(vocabulary, thing.name, thing.colour, style)
    if thing.flip:
        image = image.transpose(Image.FLIP_LEFT_RIGHT)
    corner = round(thing.x * short - side / 2), round(thing.y * short - side / 2)
    return image.resize((side, side), Image.BICUBIC, reducing_gap=2), corner


def draw(scene: Scene, width: int, height: int, vocabulary: Vocabulary, style: str = "fluent") -> np.ndarray:
    """uint8 [height, width, 3]."""
    short = min(width, height)
    ends = [np.clip(np.array(BACKGROUNDS[name], np.float32) + scene.jitter, 0, 255) for name in scene.background]
    ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    canvas = np.broadcast_to(ends[0] * (1 - ramp) + ends[-1] * ramp, (height, width, 3)).round().astype(np.uint8)
    picture = Image.fromarray(np.ascontiguousarray(canvas))
    for thing in scene.things:
        image, corner = placed(thing, short, vocabulary, style)
        picture.paste(image, corner, image)
    return np.asarray(picture)


# ---- what is kept for evaluation ----


def is_held(*parts) -> bool:
    """One combination in ten, the same on every machine."""
    return hashlib.md5("|".join(map(str, parts)).encode()).digest()[0] % 10 == 0


def held_out(scene: Scene) -> list[tuple]:
    """The held-out combinations a scene mixes: two objects, object and colour, object and count, object and background.
    A thing as it is counts as without a colour, although a caption may name the one it has.
    """
    names = [thing.name for thing in scene.things]
    found = [("pair", *pair) for pair in sorted({tuple(sorted((a, b))) for a in names for b in names if a != b})]
    found += [("colour", thing.name, thing.colour) for thing in scene.things if thing.colour]
    found += [("count", name, names.count(name)) for name in sorted(set(names)) if names.count(name) > 1]
    if len(scene.background) == 1:
        found += [("background", name, scene.background[0]) for name in sorted(set(names))]
    return [each for each in found if is_held(*each)]


# ---- sampling ----


@lru_cache(None)
def recolourable(vocabulary: Vocabulary, style: str = "fluent") -> list[str]:
    return [name for name in vocabulary.names if can_recolour(vocabulary, name, style)]


def vanishes(vocabulary: Vocabulary, thing: Thing, background: list[str], style: str = "fluent") -> bool:
    """Whether its main colour is nearly that of the background, a graded one at any height."""
    colour, begin = main_rgb(vocabulary, thing.name, thing.colour, style), np.array(BACKGROUNDS[background[0]])
    span, away = BACKGROUNDS[background[-1]] - begin, colour - begin
    at = min(max(float(span @ away) / max(float(span @ span), 1), 0), 1)
    return bool(np.square(away - at * span).sum() < 75**2)


def choose(rng: random.Random, vocabulary: Vocabulary, task: str, style: str) -> tuple[list[Thing], list[int]]:
    """One thing of every kind a scene has, without place or size, and how many of each."""
    counts = {
        "single": [1],
        "counting": [rng.choices((2, 3, 4), (4, 3, 3))[0]],
        "many": rng.choice(([1, 1, 1], [1, 1, 1], [1, 1, 1, 1], [2, 1], [2, 1], [2, 1, 1], [3, 1], [2, 2])),
    }.get(task, [1, 1])
    rng.shuffle(counts)
    can = recolourable(vocabulary, style)
    names = rng.sample(can if task == "attribution" else vocabulary.names, len(counts))
    chance = {"single": 0.35, "counting": 0.25, "many": 0.25, "attribution": 1}.get(task, 0.15)
    colours = rng.sample(list(COLOURS), len(counts))
    if task != "attribution":
        colours = [
            rng.choice(list(COLOURS)) if rng.random() < chance and can_recolour(vocabulary, name, style) else None
            for name in names
        ]
    things = [Thing(name, 0, 0, 0, colour, rng.random() < 0.3) for name, colour in zip(names, colours, strict=True)]
    return things, counts


def sample(
    rng: random.Random, vocabulary: Vocabulary, aspect: float = 1, task: str | None = None, style: str = "fluent"
) -> Scene:
    """A scene for pictures of this width / height, laid out by `layouts.lay_out`. The caption says what is there: how
    many of what, their colours where they are recoloured, sizes where they are unusual, and the background unless
    it is white. Who stands where is said in task `position` alone. Things never vanish into their background.
    """
    task = task or rng.choices(list(TASKS), TASKS.values())[0]
    things, counts = choose(rng, vocabulary, task, style)
    backgrounds = list(BACKGROUNDS)
    background = rng.sample(backgrounds, 2) if rng.random() < 0.15 else [rng.choice(backgrounds)]
    if rng.random() < 0.25:
        background = ["white"]
    if any(vanishes(vocabulary, thing, background, style) for thing in things):
        return sample(rng, vocabulary, aspect, task, style)

    chances = {"single": (6, 2, 2), "counting": (1, 0, 0), "position": (1, 0, 0)}.get(task, (8, 1, 1))
    sizes = [rng.choices((None, "small", "large"), chances)[0] for _ in things]
    kinds = [kind for kind, count in enumerate(counts) for _ in range(count)]
    spots = lay_out(sizes, kinds, aspect, rng, task)
    if not spots:
        sizes = [None] * len(things)
        spots = lay_out(sizes, kinds, aspect, rng, task)

    def phrase(kind: int, is_bare: bool = False) -> str:
        thing, count = things[kind], counts[kind]
        colour = thing.colour
        if task == "single" and not colour and rng.random() < 0.2:
            colour = natural_colour(vocabulary, thing.name, style)
        size = sizes[kind] and rng.choice(words.SIZES[sizes[kind]])
        noun = vocabulary.named(thing.name, rng)
        text = " ".join(each for each in (size, colour, noun if count == 1 else vocabulary.plural(noun)) if each)
        if count == 1:
            return text if is_bare else words.article(text)
        numbers = [each for each in words.COUNTS[count] if each != "a pair of" or not noun.startswith("pair of ")]
        return f"{rng.choice(numbers)} {text}"

    if task == "single":
        text = phrase(0, rng.random() < 0.25)
    elif task == "counting":
        text = phrase(0)
    elif task == "many":
        text = words.listing([phrase(kind) for kind in range(len(things))])
    else:
        dx, dy = spots[1][0] - spots[0][0], spots[1][1] - spots[0][1]
        forms = words.SIDE_BY_SIDE if abs(dx) >= 2 * abs(dy) else words.TOGETHER
        if task == "position":
            forms = words.LEFT if dx > abs(dy) else words.ABOVE
        text = rng.choice(forms).format(phrase(0), phrase(1))
    text = rng.choice(words.OPENINGS) + text
    if len(background) == 2:
        text += rng.choice(words.GRADED).format(*background)
    elif background[0] != "white" or rng.random() < 0.4:
        text += rng.choice(words.PLAIN).format(background[0], words.article(background[0]))
    placed_things = [
        replace(things[kind], x=x, y=y, side=side) for kind, (x, y, side) in zip(kinds, spots, strict=True)
    ]
    jitter = [rng.uniform(-6, 6) for _ in range(3)] if background != ["white"] else [0, 0, 0]
    return Scene(task, text, placed_things, background, jitter)


def training_scene(rng: random.Random, vocabulary: Vocabulary, aspect: float = 1, task: str | None = None) -> Scene:
    """One that mixes no held-out combination."""
    while held_out(scene := sample(rng, vocabulary, aspect, task)):
        pass
    return scene
