"""Training batches: crops of one thing, and small whole pictures, drawn from the sprites and roughened as a small
generator would: soft, noisy, off in colour, slightly bent.
"""

import math
import os
import random
import sys
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

import nets
import sprites
from sprites import scenes

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../train"))
import layouts


def blur(x: torch.Tensor, side: float) -> torch.Tensor:
    """To `side` times its size and back."""
    h, w = x.shape[2:]
    return F.interpolate(
        F.interpolate(x, (max(4, round(h * side)), max(4, round(w * side))), mode="bilinear", antialias=True),
        (h, w),
        mode="bilinear",
    )


def smooth(b: int, channels: int, cells: int, size: tuple[int, int]) -> torch.Tensor:
    return F.interpolate(
        F.interpolate(torch.randn(b, channels, cells, cells), (16, 16), mode="bicubic"), size, mode="bilinear"
    )


def roughen(x: torch.Tensor) -> torch.Tensor:
    """[b, 3, h, w] in 0..1, every picture in its own way; a third stay sharp."""
    b, _, h, w = x.shape

    def one(low: float, high: float) -> torch.Tensor:
        return torch.empty(b, 1, 1, 1).uniform_(low, high)

    def some(share: float) -> torch.Tensor:
        return (torch.rand(b, 1, 1, 1) < share).float()

    parts = x.split(max(1, b // 6))  # a degree of blur for a sixth of the batch each
    x = torch.cat([part if k % 3 == 0 else blur(part, random.uniform(0.4, 0.95)) for k, part in enumerate(parts)])
    ringing = torch.rand(b) < 0.2
    # rings at edges
    x[ringing] += 0.35 * (x[ringing] - F.avg_pool2d(F.pad(x[ringing], (1, 1, 1, 1), mode="replicate"), 3, 1))
    x = (x - 0.5) * one(0.88, 1.12) + 0.5 + one(-0.05, 0.05)
    x = x * (1 + 0.045 * torch.randn(b, 3, 1, 1).clamp(-1.5, 1.5))
    grey = x.mean(1, keepdim=True)
    x = grey + (x - grey) * one(0.8, 1.15)
    x = x + some(0.5) * one(0, 0.035) * smooth(b, 3, random.choice([4, 7]), (h, w))
    blocks = F.interpolate(torch.randn(b, 3, math.ceil(h / 8), math.ceil(w / 8)), scale_factor=8)[:, :, :h, :w]
    x = x + some(0.3) * one(0, 0.03) * blocks + some(0.6) * one(0, 0.035) * torch.randn_like(x)
    return x.clamp(0, 1)


class Crops:
    """Batches for `Things`: crops [b, 3, 64, 64] in [-1, 1], name (64 is none of them, -1 not asked), right colours [b,
    8] as 0 or 1 (all 0: not asked).

    Held-out combinations are kept from the crop's own thing: its colour, and its background where that is one of the
    plain ones. They are not kept from the neighbour that looks in (its pair and count with the thing, its background),
    nor from backgrounds of a random colour or a ramp, which may come near a plain one.
    """

    def __init__(self, refused: int, seed: int):
        self.variants = sprites.variants()
        good = np.stack([sprites.shrink(sprites.drawn(v.name, v.colour, v.style)) for v in self.variants])
        bad, _ = sprites.refused_many("train", refused, seed)
        tinted, self.tints = sprites.tinted_others()
        self.bank = torch.from_numpy(np.concatenate([good, bad, tinted])).permute(0, 3, 1, 2).contiguous()
        self.places = np.stack([sprites.on_backgrounds(v) for v in self.variants])
        self.by_name = {}
        for k, v in enumerate(self.variants):
            self.by_name.setdefault((v.style, v.name), ([], []))[v.colour is not None].append(k)
        self.numpy, self.plain = (
            np.random.default_rng(seed),
            np.array(list(scenes.BACKGROUNDS.values()), np.float32) / 255,
        )

    def background(self, index: int) -> np.ndarray:
        """Colours [2, 3] of the crop's first and last row, in 0..1."""
        rng = self.numpy
        allowed = np.flatnonzero(self.places[index]) if index < len(self.variants) else np.arange(11)
        if rng.random() < 0.3 or len(allowed) == 0:
            ends = (
                self.plain[rng.choice(11, 2, replace=False)] * (1 - (span := np.sort(rng.random(2)))[:, None])
                + self.plain[rng.integers(11)] * span[:, None]
            )
        else:
            one = (
                rng.random(3)
                if rng.random() < 0.3
                else self.plain[0]
                if allowed[0] == 0 and rng.random() < 0.25
                else self.plain[rng.choice(allowed)]
            )
            ends = np.stack([one, one])
        return ends if (ends == 1).all() else ends + rng.uniform(-8, 8, 3) / 255

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        rng, n = self.numpy, len(self.variants)
        index, names, colours = np.zeros(count, int), np.full(count, 64), np.zeros((count, 8), np.float32)
        # of the side the detector will believe, in sides
        scale, shift = (
            rng.uniform(0.88, 1.14, count),
            rng.uniform(-0.09, 0.09, (count, 2)),
        )
        for i in range(count):
            if rng.random() < 0.16:
                index[i] = rng.integers(n, len(self.bank) - len(self.tints))  # refused
            # only its colour is asked for: refusing it would teach to refuse things in new colours
            elif rng.random() < 0.18:
                k = rng.integers(len(self.tints))
                names[i], index[i] = -1, len(self.bank) - len(self.tints) + k
                colours[i, sprites.COLOURS.index(self.tints[k])] = 1
            else:
                natural, recoloured = self.by_name[
                    ("fluent" if rng.random() < 0.6 else "noto", sprites.VOCABULARY.names[rng.integers(64)])
                ]
                index[i] = rng.choice(recoloured if recoloured and rng.random() < 0.6 else natural)
                variant = self.variants[index[i]]
                if rng.random() < 0.05:  # seen far too close or beside: refused as well
                    if rng.random() < 0.5:
                        shift[i] = rng.choice([-1, 1], 2) * rng.uniform(0.45, 0.8, 2)
                    else:
                        scale[i], shift[i] = rng.uniform(2, 3), rng.uniform(-0.5, 0.5, 2)
                else:
                    names[i] = sprites.VOCABULARY.names.index(variant.name)
                    colours[i, [sprites.COLOURS.index(each) for each in variant.colours]] = 1
        ends = torch.from_numpy(np.stack([self.background(i) for i in index]).astype(np.float32))
        ramp = torch.linspace(0, 1, nets.CROP)[None, None, :, None]
        crops = (ends[:, 0, :, None, None] * (1 - ramp) + ends[:, 1, :, None, None] * ramp).repeat(1, 1, 1, nets.CROP)
        near = rng.random(count) < 0.25  # a neighbour looks in
        away = (
            np.where(rng.random((count, 1)) < 0.5, [[1.0, 0]], [[0, 1.0]])
            * rng.choice([-1, 1], (count, 1))
            * rng.uniform(0.98, 1.2, (count, 1))
        )
        away = shift + away + rng.uniform(-0.1, 0.1, (count, 2))
        if near.any():
            crops[torch.from_numpy(near)] = self.paste(
                crops[torch.from_numpy(near)], rng.permutation(index)[near], scale[near], away[near]
            )
        crops = self.paste(crops, index, scale, shift)
        if rng.random() < 0.04:
            crops[:4], names[:4], colours[:4] = crops[:4, :, :1, :1].expand(4, 3, 64, 64), 64, 0  # nothing there
        return roughen(crops) * 2 - 1, torch.from_numpy(names), torch.from_numpy(colours)

    def paste(self, crops: torch.Tensor, index: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> torch.Tensor:
        """Sprites over the crops: turned a little, bent a little, half of them mirrored."""
        rng, b = self.numpy, len(index)
        sprite = self.bank[torch.from_numpy(index)].float() / 255
        sprite[:, :3] *= sprite[:, 3:]
        angle = rng.normal(0, 0.05, b)
        mirrored, squeeze = rng.choice([-1, 1], b, p=[0.3, 0.7]), np.exp(rng.normal(0, 0.04, b))
        zoom = nets.CONTEXT / scale
        matrix = np.zeros((b, 2, 3), np.float32)
        matrix[:, 0, 0], matrix[:, 0, 1] = np.cos(angle) * zoom * mirrored * squeeze, -np.sin(angle) * zoom * mirrored
        matrix[:, 1, 0], matrix[:, 1, 1] = np.sin(angle) * zoom, np.cos(angle) * zoom
        matrix[:, :, 2] = -np.einsum("bij,bj->bi", matrix[:, :, :2], shift * 2 * scale[:, None] / nets.CONTEXT)
        grid = F.affine_grid(torch.from_numpy(matrix), (b, 4, nets.CROP, nets.CROP), align_corners=False)
        bend = torch.from_numpy(rng.uniform(0, 0.035, b).astype(np.float32) * (rng.random(b) < 0.6))
        grid = grid + bend[:, None, None, None] * smooth(b, 2, 5, (nets.CROP, nets.CROP)).permute(0, 2, 3, 1)
        drawn = F.grid_sample(sprite, grid, align_corners=False)
        return crops * (1 - drawn[:, 3:]) + drawn[:, :3]


class Small:
    """Batches for `Places`: whole pictures with a shorter side of 64, [b, 3, h, w] in [-1, 1], and their target [b, 4,
    h/4, w/4]: heat 0..1, offset x, y, log of the side.
    """

    SHAPES: ClassVar = {(128, 128): 0.7, (256, 128): 0.15, (128, 256): 0.15}

    def __init__(self, crops: Crops, count: int, seed: int):
        rng, self.rng = np.random.default_rng(seed), random.Random(seed)
        self.sets = {
            shape: [self.one(crops, shape, rng) for _ in range(round(count * share))]
            for shape, share in self.SHAPES.items()
        }

    def one(
        self, crops: Crops, shape: tuple[int, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, list[tuple[float, float, float]]]:
        """uint8 [h, w, 3] and (x, y, side) of its things in pixels."""
        width, height = shape
        spots = self.spots(shape, rng)
        while True:
            chosen = []
            for _ in spots:
                natural, recoloured = crops.by_name[
                    ("fluent" if rng.random() < 0.6 else "noto", sprites.VOCABULARY.names[rng.integers(64)])
                ]
                chosen.append(
                    rng.choice(recoloured if recoloured and rng.random() < 0.4 else natural)
                    if rng.random() < 0.85
                    else rng.integers(len(crops.variants), len(crops.bank))
                )
            if len(chosen) > 1 and rng.random() < 0.35:
                chosen = [chosen[0]] * len(chosen)
            ours = [crops.variants[k] for k in chosen if k < len(crops.variants)]
            names = [v.name for v in ours]
            kept = any(scenes.is_held("pair", *sorted((a, b))) for a in names for b in names if a < b) or any(
                scenes.is_held("count", a, names.count(a)) for a in names if names.count(a) > 1
            )
            if not kept:
                break
        allowed = (
            np.flatnonzero(np.all([crops.places[k] for k in chosen if k < len(crops.variants)], 0))
            if ours
            else np.arange(11)
        )
        if len(allowed) == 0 or rng.random() < 0.2:
            ends = crops.plain[rng.choice(11, 2, replace=False)]
        else:
            ends = crops.plain[[0, 0] if allowed[0] == 0 and rng.random() < 0.25 else [rng.choice(allowed)] * 2]
        ends = ends if (ends == 1).all() else ends + rng.uniform(-8, 8, 3) / 255
        ramp = np.linspace(0, 1, height)[:, None, None]
        canvas = (
            np.broadcast_to((ends[0] * (1 - ramp) + ends[1] * ramp).clip(0, 1) * 255, (height, width, 3))
            .round()
            .astype(np.uint8)
        )
        picture, things = Image.fromarray(np.ascontiguousarray(canvas)), []
        for k, (x, y, side) in zip(chosen, spots, strict=True):
            edge, at = round(side), (round(x - side / 2), round(y - side / 2))
            sprite = Image.fromarray(crops.bank[k].permute(1, 2, 0).numpy()).resize((edge, edge), Image.BICUBIC)
            if rng.random() < 0.3:
                sprite = sprite.transpose(Image.FLIP_LEFT_RIGHT)
            picture.paste(sprite, at, sprite)
            things.append(((at[0] + edge / 2) / 2, (at[1] + edge / 2) / 2, edge / 2))
        return np.asarray(picture.reduce(2)), things

    @staticmethod
    def spots(shape: tuple[int, int], rng: np.random.Generator) -> list[tuple[float, float, float]]:
        """(x, y, side) of none to five squares that do not touch: half as the scenes have them, half anywhere."""
        width, height = shape
        short = min(shape)
        if rng.random() < 0.5:
            ours = random.Random(int(rng.integers(2**31)))
            count = int(rng.choice([1, 2, 3, 4], p=[0.35, 0.3, 0.2, 0.15]))
            spans = (0.62, 0.88) if count == 1 else (0.72, 0.92)
            if rng.random() < 0.2:
                spans = (0.3, 0.6)
            elif rng.random() < 0.1:
                spans = (0.88, 0.95)
            return [
                tuple(short * v for v in layouts.settle(cell, *spans, ours))
                for cell in layouts.place(count, width / height, ours.random() < 0.5, ours)
            ]
        found = []
        for _ in range(int(rng.integers(0, 14))):
            side = short * rng.uniform(0.2, 0.6)
            x, y = rng.uniform(side / 2, width - side / 2), rng.uniform(side / 2, height - side / 2)
            if len(found) < 5 and all(max(abs(x - a), abs(y - b)) > (side + c) / 2 for a, b, c in found):
                found.append((x, y, side))
        return found

    def batch(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        shape = self.rng.choices(list(self.SHAPES), self.SHAPES.values())[0]
        w, h = shape[0] // 2 // nets.CELL, shape[1] // 2 // nets.CELL
        chosen = self.rng.choices(self.sets[shape], k=count)
        rgb = torch.from_numpy(np.stack([picture for picture, _ in chosen])).permute(0, 3, 1, 2).float() / 255
        target = np.zeros((count, 4, h, w), np.float32)
        y, x = np.mgrid[0:h, 0:w] + 0.5
        for i, (_, things) in enumerate(chosen):
            for cx, cy, side in things:
                cx, cy = cx / nets.CELL, cy / nets.CELL
                spread = max(0.6, 0.13 * side / nets.CELL)
                heat = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * spread**2)).astype(np.float32)
                heat[min(h - 1, int(cy)), min(w - 1, int(cx))] = 1
                here = heat > target[i, 0]
                target[i, :, here] = np.stack([heat, cx - x, cy - y, np.full((h, w), math.log(side / nets.USUAL))], -1)[
                    here
                ]
        x, target = roughen(rgb) * 2 - 1, torch.from_numpy(target)
        if self.rng.random() < 0.3:
            x, target = x.flip(3), target.flip(3)
            target[:, 1] *= -1
        return x, target
