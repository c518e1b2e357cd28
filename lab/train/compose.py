"""Pictures of packed scenes, composed in batches on any device, equal to `scenes.draw` to the bit.

Every step is whole numbers: products with 8-bit levels stay below 2^31 and float64 holds them exactly, so the order in
which a device adds does not matter. Only the background is computed in fractions, each operation alone as NumPy does.

A thing of `side` > 64 pixels costs 1024 side (256 + side) multiplications with as many additions, 36 million of each at
100 pixels: dense products with matrices that are mostly zero, which suit a GPU and not a processor.
"""

from typing import NamedTuple

import numpy as np
import torch

import packed
import resample
from atlas import Atlas

SIDES = 32  # things are resized together when their sides round up to the same multiple of this
BYTES = 2**29  # of what it takes to resize some things together
PIXELS = 2**23  # of the pictures that are pasted together
LEAST = 102  # of 255: what covers no more than two fifths of a token does not count


class Batch(NamedTuple):
    """`pictures`: uint8 [b, height, width, 3]. `things`: int64 [b, tokens, 2], tokens in reading order: 1 + the index
    of the object that covers most of the token (0: none covers more than two fifths; of equals the first), and 1 + that
    of its colour (0: as it is).
    """

    pictures: torch.Tensor
    things: torch.Tensor


class Things(NamedTuple):
    """One value each for the things of some scenes: `scene` and `slot` say whose they are and when they are laid."""

    scene: np.ndarray
    slot: np.ndarray
    row: np.ndarray
    label: np.ndarray
    side: np.ndarray
    left: np.ndarray
    top: np.ndarray
    flip: np.ndarray


class Resized(NamedTuple):
    """`pixels`: uint8 [values, 4], RGBA; thing i's pixel (y, x) is at start[i] + y * stride[i] + x."""

    pixels: torch.Tensor
    start: np.ndarray
    stride: np.ndarray


def divided_by_255(x: torch.Tensor) -> torch.Tensor:
    """x / 255, rounded, for whole 0 <= x <= 255 * 255."""
    x = x + 128
    return (x + (x >> 8)) >> 8


def levels(sums: torch.Tensor) -> torch.Tensor:
    """8-bit levels of sums in units of 2^-22, rounded; overwrites and returns them, still float64."""
    half = 2.0 ** (resample.BITS - 1)
    return sums.add_(half).mul_(2.0**-resample.BITS).floor_().clamp_(0, 255)


def premultiplied(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 [..., 4, n] → the same with its first three channels times the fourth / 255."""
    wide = pixels.int()
    colours = divided_by_255(wide[..., :3, :] * wide[..., 3:, :])
    return torch.cat([colours, wide[..., 3:, :]], -2).to(torch.uint8)


def averaged(pixels: torch.Tensor, step: int) -> torch.Tensor:
    """uint8 [n, 256, 4, 256] → int64 [n, reduced, 4, reduced]: means of cells of step x step pixels."""
    size = resample.reduced(step)
    rim = size * step - resample.SOURCE
    cells = (
        torch.nn.functional.pad(pixels, (0, rim, 0, 0, 0, rim)).unflatten(3, (size, step)).unflatten(1, (size, step))
    )
    half, multiplier = (torch.from_numpy(each)[:, None].to(pixels.device) for each in resample.divisors(step))
    return ((cells.sum((2, 5)) + half) * multiplier) >> 24


def coverage(alpha: torch.Tensor) -> torch.Tensor:
    """int [n, height, width] of 0 to 255 → [n, tokens]: means over the tokens, along rows and then along columns, each
    rounded. Law: Pillow's BOX resize.
    """
    n, height, width = alpha.shape
    side = packed.TOKEN
    rows = (alpha.view(n, height, width // side, side).sum(-1) + side // 2) // side
    return ((rows.view(n, height // side, side, -1).sum(2) + side // 2) // side).flatten(1)


class Compositor:
    """Composes scenes on a device. It keeps the atlas there, 512 KiB a pair of object and colour, and the matrices of
    the sides that it has met, at most 2 KiB a pixel of each.
    """

    def __init__(self, atlas: Atlas, device: str | torch.device = "cpu"):
        self.device, self.row = torch.device(device), atlas.row
        # rows, channels, columns: then both passes of a resize are plain matrix products
        self.pixels = torch.from_numpy(atlas.pixels).to(self.device).transpose(2, 3).contiguous()
        self.premultiplied = torch.empty_like(self.pixels)
        for some, result in zip(self.pixels.split(64), self.premultiplied.split(64), strict=True):
            result.copy_(premultiplied(some))
        self.weights: dict[int, torch.Tensor] = {}

    def compose(self, scenes: dict[str, np.ndarray], index: np.ndarray) -> Batch:
        """Pictures and labels of the packed scenes at `index`, in its order. Needs less than 2 GiB beyond the result,
        however many they are, unless their things cover more than the pictures' area. Raises ValueError when they are
        not packed scenes or the atlas lacks what they show, IndexError when there is no such scene.
        """
        chosen = packed.some(scenes, index)
        packed.check(chosen, len(self.row))
        count, together = len(chosen["sprite"]), max(1, PIXELS // (int(scenes["width"]) * int(scenes["height"])))
        made = [
            self.composed(packed.some(chosen, range(at, min(count, at + together)))) for at in range(0, count, together)
        ]
        return Batch(torch.cat([each.pictures for each in made]), torch.cat([each.things for each in made]))

    def on_device(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def composed(self, scenes: dict[str, np.ndarray]) -> Batch:
        width, height = int(scenes["width"]), int(scenes["height"])
        things = self.things(scenes)
        resized = self.resized(things)
        pictures = self.backgrounds(scenes["ends"], width, height)
        most = torch.full((len(pictures), height * width // packed.TOKEN**2), LEAST, device=self.device)
        labels = torch.zeros(*most.shape, 2, dtype=torch.int64, device=self.device)
        # one value more at the end takes what falls outside
        canvas = torch.cat([pictures.view(-1, 3), pictures.new_zeros(1, 3)])
        for slot in range(int(things.slot.max(initial=-1)) + 1):
            which = np.flatnonzero(things.slot == slot)
            scene, side, left, top, start, stride = (
                self.on_device(each[which].astype(np.int64))[:, None, None]
                for each in (things.scene, things.side, things.left, things.top, resized.start, resized.stride)
            )
            span = torch.arange(int(things.side[which].max()), device=self.device)
            y, x = span[:, None], span
            is_inside = (y < side) & (x < side)
            source = resized.pixels[torch.where(is_inside, start + y * stride + x, 0)].int()
            y, x = top + y, left + x
            is_inside &= (y >= 0) & (y < height) & (x >= 0) & (x < width)
            at = torch.where(is_inside, (scene * height + y) * width + x, len(canvas) - 1)
            alpha = source[..., 3:]
            canvas[at] = divided_by_255(canvas[at] * (255 - alpha) + source[..., :3] * alpha).to(torch.uint8)

            own = torch.arange(len(which), device=self.device)[:, None, None]
            cover = torch.zeros(len(which) * height * width + 1, dtype=torch.int32, device=self.device)
            cover[torch.where(is_inside, (own * height + y) * width + x, len(cover) - 1)] = alpha[..., 0]
            share = coverage(cover[:-1].view(-1, height, width))
            scene = scene.flatten()
            label = self.on_device(things.label[which])[:, None]
            labels[scene] = torch.where((share > most[scene])[..., None], label, labels[scene])
            most[scene] = torch.maximum(most[scene], share)
        return Batch(canvas[:-1].view(pictures.shape), labels)

    def things(self, scenes: dict[str, np.ndarray]) -> Things:
        scene, slot = np.nonzero(scenes["sprite"] >= 0)
        sprite, colour, side, left, top, flip = (scenes[field][scene, slot] for field in packed.FIELDS)
        row = self.row[sprite, colour]
        if (row < 0).any():
            first = int(np.flatnonzero(row < 0)[0])
            raise ValueError(f"sprite {sprite[first]} in colour {colour[first]} is not in the atlas")
        label = np.stack([1 + sprite.astype(np.int64), colour.astype(np.int64)], 1)
        return Things(scene, slot, row, label, side, left, top, flip)

    def backgrounds(self, ends: np.ndarray, width: int, height: int) -> torch.Tensor:
        """uint8 [b, height, width, 3] of float64 [b, 2, 3]."""
        ramp = np.linspace(0, 1, height, dtype=np.float32)[:, None]
        falling, rising = (self.on_device(each.astype(np.float64)) for each in (1 - ramp, ramp))
        first, last = self.on_device(ends)[:, :, None].unbind(1)
        colours = (first * falling + last * rising).round().to(torch.uint8)
        return colours[:, :, None].expand(-1, -1, width, -1).contiguous()

    def resized(self, things: Things) -> Resized:
        """Every thing at its size, flipped or not."""
        stride = -(-things.side.astype(np.int64) // SIDES) * SIDES
        step = np.array([resample.factor(int(side)) for side in things.side], np.int64)
        start = np.zeros(len(stride), np.int64)
        made, length = [], 0
        for size, cell in sorted(set(zip(stride.tolist(), step.tolist(), strict=True))):
            for is_copied in (True, False):  # what has its size is not even premultiplied
                group = np.flatnonzero(
                    (stride == size) & (step == cell) & ((things.side == resample.SOURCE) == is_copied)
                )
                source = resample.reduced(cell)
                each = 4 * 8 * (source * source + source * size + 2 * size * size) + 4 * 4 * resample.SOURCE**2
                some = max(1, BYTES // each)
                for which in np.split(group, range(some, len(group), some)) if len(group) else []:
                    start[which] = length + size * size * np.arange(len(which))
                    length += size * size * len(which)
                    row, flipped = self.on_device(things.row[which]), self.on_device(np.flatnonzero(things.flip[which]))
                    pixels = (self.pixels if is_copied else self.premultiplied)[row]
                    pixels[flipped] = pixels[flipped].flip(-1)
                    if not is_copied:
                        pixels = self.weighed(pixels, things.side[which], size, cell)
                    made.append(pixels.transpose(2, 3).reshape(-1, 4))
        pixels = torch.cat(made) if made else torch.zeros(1, 4, dtype=torch.uint8, device=self.device)
        return Resized(pixels, start, stride)

    def weighed(self, pixels: torch.Tensor, side: np.ndarray, size: int, step: int) -> torch.Tensor:
        """uint8 [n, 256, 4, 256], premultiplied → [n, size, 4, size], not: each at its own side, zeros after it."""
        sides, which = np.unique(side, return_inverse=True)
        weights = torch.stack([self.weights_of(int(each), size) for each in sides])[self.on_device(which)]
        source = averaged(pixels, step) if step > 1 else pixels
        n, source_side = len(source), source.shape[-1]
        along = levels(torch.bmm(source.double().view(n, -1, source_side), weights.mT))
        result = levels(torch.bmm(weights, along.view(n, source_side, 4 * size))).view(n, size, 4, size)
        alpha, colours = result[:, :, 3:], result[:, :, :3]
        # a quotient of such whole numbers never rounds up to the next one
        colours.mul_(255).div_(alpha.clamp(min=1)).floor_().clamp_(max=255)
        return result.to(torch.uint8)

    def weights_of(self, side: int, size: int) -> torch.Tensor:
        """`resample.weights` with rows of zeros up to `size`."""
        if side not in self.weights:
            values = resample.weights(side)
            self.weights[side] = self.on_device(np.pad(values, ((0, size - side), (0, 0))))
        return self.weights[side]
