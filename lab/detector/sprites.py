"""What the detector learns from: every object in every colour and two styles, and what it has to refuse: other emoji,
and objects that are shredded, blended, half erased or melted.

No object is recoloured in a colour that `scenes.is_held` keeps for the evaluation, though as it is it may have that
colour (a red heart); plain backgrounds that are kept are left out by `on_backgrounds`.
"""

import hashlib
import os
import random
import sys
import unicodedata
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../train"))
import scenes
import vocabulary

VOCABULARY = vocabulary.load("fluent-64")  # the things the detector knows
STYLES = ["fluent", "noto"]
COLOURS = [*scenes.COLOURS, "none"]  # none: as it is, and that has no name among the seven
# a thing has its name in any colour; which one is not asked for these
OTHER_HUES = {
    "teal": (20, 160, 160),
    "lime": (160, 210, 40),
    "magenta": (210, 40, 160),
    "brown": (122, 82, 56),
}
SIDE = 72  # edge of a stored sprite
BACKGROUNDS = list(scenes.BACKGROUNDS)
# words of an emoji's name that say it may look like one of the 64
ALIKE = set(
    """
    HEART HEARTS CAT DOG BEAR PANDA MONKEY RABBIT APPLE CLOCK BOOK BOOKS BELL KEY STAR STARS HOUSE HOME TREE COW OX
    PIG FISH WHALE CHERRY BLOSSOM AUTOMOBILE TAXI BUS TROLLEYBUS MINIBUS AIRPLANE UMBRELLA CAMERA SNOWMAN DRUM CROWN
    CREAM HAT BALLOON BEETLE BUG BICYCLE BICYCLES BICYCLIST FOOTBALL CASTLE BOAT KOALA TIGER WOLF LEOPARD CHICK
    ROOSTER BIRD DUCK MANGO PEACH ORANGE CAR NOTEBOOK LEDGER CLOTHES SHIRT TEDDY HAMSTER SHARK DOLPHIN SQUID ANT FLY
    BEAVER GARDEN HUT BUILDING BUILDINGS PLANT WATER TURKEY VIOLIN BANJO TANABATA FAMILY ROSETTE SUN FLOWER
    """.split()
)


def shrink(image: Image.Image) -> np.ndarray:
    """uint8 [SIDE, SIDE, 4]."""
    return np.asarray(image.resize((SIDE, SIDE), Image.BICUBIC))


@dataclass
class Variant:
    """One object in one colour and style; `colours` are all answers that count as right, none where a colour is not
    asked for.
    """

    name: str
    style: str
    colour: str | None
    colours: list[str]


@lru_cache(None)
def drawn(name: str, colour: str | None, style: str) -> Image.Image:
    """RGBA 256 x 256, also in the other hues."""
    if colour not in OTHER_HUES:
        return scenes.sprite(VOCABULARY, name, colour, style)
    return scenes.recolour(scenes.sprite(VOCABULARY, name, None, style), OTHER_HUES[colour])


def right_colours(name: str, colour: str | None, style: str) -> list[str]:
    """A recoloured thing has its colour. One as it is has the word that holds for it or none; where a recoloured one
    would hardly differ from it, that colour is right as well.
    """
    if colour:
        return [colour]
    word = scenes.natural_colour(VOCABULARY, name, style)
    if word in scenes.COLOURS:
        return [word]
    if not scenes.can_recolour(VOCABULARY, name, style):
        return ["none"]
    main = partial(scenes.main_rgb, VOCABULARY, name, style=style)
    near = [each for each in scenes.COLOURS if np.square(main(each) - main(None)).sum() < 70**2]
    return ["none", *near]


@lru_cache(None)
def variants() -> list[Variant]:
    found = []
    for style in STYLES:
        for name in VOCABULARY.names:
            colours = (
                [None, *(each for each in scenes.COLOURS if not scenes.is_held("colour", name, each))]
                if scenes.can_recolour(VOCABULARY, name, style)
                else [None]
            )
            found += [Variant(name, style, colour, right_colours(name, colour, style)) for colour in colours]
            if len(colours) > 1:
                found += [Variant(name, style, hue, []) for hue in OTHER_HUES]
    return found


def on_backgrounds(variant: Variant) -> np.ndarray:
    """bool [11]: the plain backgrounds it is shown on: none that is kept for the evaluation, none in which it would be
    lost.
    """
    rgb = (
        np.array(OTHER_HUES[variant.colour])
        if variant.colour in OTHER_HUES
        else scenes.main_rgb(VOCABULARY, variant.name, variant.colour, variant.style)
    )
    return np.array(
        [
            not scenes.is_held("background", variant.name, each)
            and np.square(rgb - scenes.BACKGROUNDS[each]).sum() > 65**2
            for each in BACKGROUNDS
        ]
    )


# ---- what has to be refused ----


@lru_cache(None)
def others(part: str, style: str = "fluent") -> list[Image.Image]:
    """Emoji that are none of the 64 and do not look like one: a quarter is kept for `test`."""
    ours, codes = {code.split("-")[0] for code in VOCABULARY.objects.values()}, []
    for file in sorted(os.listdir(os.path.join(scenes.HERE, os.path.dirname(os.path.join(*scenes.SOURCES["fluent"]))))):
        code = file.removesuffix(".webp")
        if "-" in code.removesuffix("-fe0f") or code.removesuffix("-fe0f") in ours:
            continue
        said = unicodedata.name(chr(int(code.removesuffix("-fe0f"), 16)), "").replace("-", " ").split()
        if (
            said
            and not ALIKE & set(said)
            and (hashlib.md5(code.removesuffix("-fe0f").encode()).digest()[0] % 4 == 0) == (part == "test")
        ):
            codes.append(code)
    random.Random(0).shuffle(codes)
    folder, pattern = scenes.SOURCES[style]
    files = [
        os.path.join(scenes.HERE, folder, pattern.format(code if style == "fluent" else code.removesuffix("-fe0f")))
        for code in codes[:450]
    ]
    return [square(Image.open(file).convert("RGBA")) for file in files if os.path.exists(file)]


def tinted_others() -> tuple[np.ndarray, list[str]]:
    """Other emoji in all seven colours, uint8 [count, SIDE, SIDE, 4], and the colour of each: what a colour is must not
    depend on whose it is, or one that is held out for a thing is never said of it.
    """
    found = [
        (image, colour)
        for style in STYLES
        for image in others("train", style)
        if scenes.dominant(image)[0] > 0.55
        for colour in scenes.COLOURS
    ]
    return np.stack([shrink(scenes.recolour(image, scenes.COLOURS[colour])) for image, colour in found]), [
        colour for _, colour in found
    ]


def square(image: Image.Image) -> Image.Image:
    """Cut to the visible part, centred in 128 x 128."""
    image = image.crop(image.getchannel("A").point(lambda a: 255 * (a > 8)).getbbox())
    scale = 128 / max(image.size)
    image = image.resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), Image.BICUBIC)
    result = Image.new("RGBA", (128, 128))
    result.paste(image, ((128 - image.width) // 2, (128 - image.height) // 2))
    return result


def waves(rng: np.random.Generator, cells: int, side: int = 128) -> np.ndarray:
    """Smooth noise [side, side] of about unit size."""
    small = Image.fromarray(rng.standard_normal((cells, cells)).astype(np.float32))
    return np.asarray(small.resize((side, side), Image.BICUBIC))


def shape(rng: np.random.Generator) -> np.ndarray:
    """An ellipse, polygon or blob, of one colour, of stripes or of clouds of two colours: float [128, 128, 4]."""
    mask = Image.new("L", (128, 128))
    pen, kind = ImageDraw.Draw(mask), rng.integers(4)
    if kind == 0:
        pen.ellipse([rng.integers(0, 45), rng.integers(0, 45), rng.integers(84, 128), rng.integers(84, 128)], fill=255)
    elif kind == 1:
        pen.rounded_rectangle(
            [rng.integers(0, 45), rng.integers(0, 45), rng.integers(84, 128), rng.integers(84, 128)],
            rng.integers(0, 30),
            fill=255,
        )
    elif kind == 2:
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 9)))
        pen.polygon(
            [
                (64 + 62 * np.cos(a) * r, 64 + 62 * np.sin(a) * r)
                for a, r in zip(angles, rng.uniform(0.5, 1, len(angles)), strict=True)
            ],
            fill=255,
        )
    alpha = np.asarray(mask).astype(np.float32)
    if kind == 3:
        y, x = np.mgrid[-1:1:128j, -1:1:128j]
        alpha = 255 * np.clip((1 - np.hypot(x, y) * 1.3 + 0.35 * waves(rng, 5)) * 12, 0, 1)
    a, b = rng.uniform(0, 255, 3), rng.uniform(0, 255, 3)
    how = rng.integers(3)
    mix = (
        np.zeros((128, 128))
        if how == 0
        else (np.sin(np.mgrid[0:1:128j, 0:1:128j][rng.integers(2)] * rng.uniform(5, 40)) > 0).astype(float)
        if how == 1
        else np.clip(0.5 + 0.6 * waves(rng, rng.integers(3, 9)), 0, 1)
    )
    light = 1 + 0.15 * np.linspace(1, -1, 128)[:, None]  # lit from above, as emoji are
    return np.dstack([np.clip((a + (b - a) * mix[..., None]) * light[..., None], 0, 255), alpha])


def melted(pixels: np.ndarray, rng: np.random.Generator, amount: float) -> np.ndarray:
    y, x = np.mgrid[0:128, 0:128].astype(np.float32)
    cells = int(rng.integers(4, 8))
    return pixels[
        np.clip(y + amount * waves(rng, cells), 0, 127).astype(int),
        np.clip(x + amount * waves(rng, cells), 0, 127).astype(int),
    ]


def refused(part: str, kind: str, rng: np.random.Generator) -> np.ndarray:
    """One thing that is none of the 64: uint8 [SIDE, SIDE, 4]."""
    pool = [each for each in variants() if each.style == ("fluent" if rng.random() < 0.6 else "noto")]

    def pick() -> np.ndarray:
        one = pool[rng.integers(len(pool))]
        return np.asarray(small_sprite(one.name, one.colour, one.style)).astype(np.float32)

    if kind == "other":
        return shrink(others(part)[rng.integers(len(others(part)))])
    if kind == "shape":
        return shrink(Image.fromarray(shape(rng).astype(np.uint8)))
    if kind == "melted":
        return shrink(Image.fromarray(melted(pick(), rng, rng.uniform(15, 24)).astype(np.uint8)))
    one = pick()
    if kind == "shredded":
        n = int(rng.choice([3, 4]))
        edge = 128 // n
        tiles = [one[i * edge : (i + 1) * edge, j * edge : (j + 1) * edge] for i in range(n) for j in range(n)]
        order = rng.permutation(n * n)
        result = np.zeros_like(one)
        for k, at in enumerate(order):
            result[k // n * edge : (k // n + 1) * edge, k % n * edge : (k % n + 1) * edge] = tiles[at]
    elif kind == "erased":
        y, x = np.mgrid[-1:1:128j, -1:1:128j]
        angle = rng.uniform(0, 2 * np.pi)
        depth = x * np.cos(angle) + y * np.sin(angle)
        weights = one[..., 3].ravel()
        order = np.argsort(depth.ravel())
        total = np.cumsum(weights[order])
        cut = depth.ravel()[order][np.searchsorted(total, rng.uniform(0.55, 0.75) * total[-1])]  # that share of it goes
        result = one.copy()
        result[..., 3] *= np.clip((depth - cut) * 30, 0, 1)
    else:
        two = pick()
        alpha = np.stack([one[..., 3], two[..., 3]])
        if kind == "blended":
            share = np.full((128, 128), rng.uniform(0.42, 0.58))
        elif rng.random() < 0.5:
            share = np.broadcast_to(np.arange(128) < 64, (128, 128)).astype(float)
        else:
            share = np.broadcast_to((np.arange(128) < 64)[:, None], (128, 128)).astype(float)
        weights = np.stack([share, 1 - share]) * alpha
        total = weights.sum(0)
        rgb = (weights[0, ..., None] * one[..., :3] + weights[1, ..., None] * two[..., :3]) / np.maximum(total, 1e-3)[
            ..., None
        ]
        result = np.dstack([rgb, total])
    return shrink(square(Image.fromarray(result.clip(0, 255).astype(np.uint8))))


@lru_cache(None)
def small_sprite(name: str, colour: str | None, style: str) -> Image.Image:
    return drawn(name, colour, style).resize((128, 128), Image.BICUBIC)


REFUSED = {"other": 0.36, "shape": 0.12, "shredded": 0.14, "blended": 0.1, "halves": 0.1, "erased": 0.1, "melted": 0.08}


def refused_many(part: str, count: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """uint8 [count, SIDE, SIDE, 4] and the kind of each, in the shares of `REFUSED`."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(list(REFUSED), count, p=np.array(list(REFUSED.values())) / sum(REFUSED.values())).tolist()
    return np.stack([refused(part, kind, rng) for kind in kinds]), kinds
