"""Scenes of one shape on the device: composed, encoded, and drawn from at random."""

import time

import numpy as np
import torch

import autoencoder
import compose
import latents
import time_plan


class Pool:
    """`scenes` are packed scenes of one shape (compose.pack_scenes) with `ids` [s, 64], `lengths` [s] of their captions
    and `singles` [s], whether a scene holds one object. Composes them from `first` on, around the end, `count` at most
    and until the phase is over, one chunk at least.

    Keeps latents in half precision: 2 KiB a 32 x 32 pixels.
    """

    CHUNK_PIXELS = 2**23

    def __init__(
        self,
        scenes: dict[str, np.ndarray],
        shape: tuple[int, int],
        compositor: compose.Compositor,
        encode: autoencoder.Encoder,
        first: int,
        count: int,
        phase: time_plan.Phase,
    ):
        width, height = shape
        all_scenes, chunk = len(scenes["lengths"]), max(1, self.CHUNK_PIXELS // (width * height))
        order = (first + np.arange(min(count, all_scenes))) % all_scenes
        tokens, things, longest = [], [], 0.0
        for at in range(0, len(order), chunk):
            if at > 0 and phase.left < longest:
                break
            begin = time.monotonic()
            pictures, labels = compositor.compose(scenes, order[at : at + chunk])
            with torch.no_grad():
                tokens.append(latents.pack(encode(autoencoder.to_float(pictures))).half())
            things.append(labels)
            if tokens[-1].is_cuda:
                torch.cuda.synchronize()
            longest = max(longest, time.monotonic() - begin)
        self.x, self.things = torch.cat(tokens), torch.cat(things)
        device, made = self.x.device, order[: len(self.x)]
        self.img_ids = latents.grid_ids(height // 16, width // 16).to(device)
        self.ids = torch.from_numpy(scenes["ids"][made].astype(np.int64)).to(device)
        lengths, singles = scenes["lengths"][made], scenes["singles"][made]
        # by whether they hold a single object and by caption length: nothing is padded
        self.groups = {
            single: {
                int(length): torch.from_numpy(np.flatnonzero((lengths == length) & (singles == single))).to(device)
                for length in np.unique(lengths[singles == single])
            }
            for single in (True, False)
        }

    def __len__(self) -> int:
        return len(self.x)

    def batch(
        self, count: int, singles: float, rng: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`count` scenes whose captions have one length, of a single object with chance `singles`: (x [b, n, 64],
        things [b, n, 2], input_ids [b, t]).
        """
        by_length = self.groups[bool(rng.random() < singles)] or self.groups[True] or self.groups[False]
        sizes = np.array([len(each) for each in by_length.values()])
        length = list(by_length)[rng.choice(len(sizes), p=sizes / sizes.sum())]
        group = by_length[length]
        chosen = group[torch.randint(len(group), (count,), device=group.device)]
        return self.x[chosen].float(), self.things[chosen], self.ids[chosen, :length]


def crops(pictures: list[torch.Tensor], count: int, side: int, rng: np.random.Generator) -> torch.Tensor:
    """`count` random squares of `side` pixels as float [b, 3, side, side], of pictures uint8 [s, h, w, 3] of several
    sizes, each size as often.
    """
    result = []
    for i in range(count):
        pool = pictures[i % len(pictures)]
        picture = pool[int(rng.integers(len(pool)))]
        y, x = (int(rng.integers(extent - side + 1)) for extent in picture.shape[:2])
        result.append(picture[y : y + side, x : x + side])
    return autoencoder.to_float(torch.stack(result))
