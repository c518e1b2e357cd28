"""The training set: scenes as packed latents with their captions, one file a picture shape of the curriculum. Make it:

    python lab/train/latents.py

Latents are packed as the transformer takes them and kept in half precision: 2 KiB a 32 x 32 pixels. Beside them, for
each token, the name and the colour of the thing there.
"""

import argparse
import os
import random
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from PIL import Image

import autoencoder
import curricula
import run
import scenes

# (width, height): how many scenes at scale 1
SHAPES = {
    (128, 128): 40_000,
    (256, 256): 18_000,
    (512, 512): 1600,
    (128, 64): 1000,
    (64, 128): 1000,
    (256, 128): 1200,
    (128, 256): 1200,
    (512, 256): 400,
    (256, 512): 400,
}
CHUNK = 200


def pack(z: torch.Tensor) -> torch.Tensor:
    """latents [b, 16, 2h, 2w] → tokens [b, h * w, 64], values in the order (c, i, j)."""
    b, c, h, w = z.shape
    return z.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(b, h * w // 4, 4 * c)


def unpack(x: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
    """tokens [b, rows * cols, 64] → latents [b, 16, 2 rows, 2 cols]."""
    return x.reshape(-1, rows, cols, 16, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(-1, 16, 2 * rows, 2 * cols)


def grid_ids(rows: int, cols: int) -> torch.Tensor:
    """[rows * cols, 3]: (0, row, col)."""
    row, col = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
    return torch.stack([torch.zeros_like(row), row, col], -1).reshape(-1, 3).float()


def things_at(scene: scenes.Scene, width: int, height: int) -> np.ndarray:
    """uint8 [tokens, 2]: 1 + the name's index of the thing that covers most of the token (0: none covers two fifths),
    and 1 + the colour's (0: as it is).
    """
    result, most = np.zeros((height // 16 * (width // 16), 2), np.uint8), np.full(height // 16 * (width // 16), 0.4)
    for thing in scene.things:
        cover = Image.new("L", (width, height))
        image, corner = scenes.placed(thing, min(width, height))
        cover.paste(image.getchannel("A"), corner)
        share = np.asarray(cover.resize((width // 16, height // 16), Image.BOX)).reshape(-1) / 255
        result[share > most] = (
            1 + scenes.NAMES.index(thing.name),
            1 + list(scenes.COLOURS).index(thing.colour) if thing.colour else 0,
        )
        most = np.maximum(most, share)
    return result


def drawn(job: tuple[int, int, int, int, bool]) -> tuple[list[scenes.Scene], np.ndarray, np.ndarray]:
    width, height, count, seed, is_free = job
    rng = random.Random(seed)
    made = [scenes.training_scene(rng, width / height, is_free) for _ in range(count)]
    return (
        made,
        np.stack([scenes.draw(scene, width, height) for scene in made]),
        np.stack([things_at(scene, width, height) for scene in made]),
    )


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--out", default=".ralu/train")
    args.add_argument("--scale", type=float, default=1)
    args.add_argument("--curriculum", choices=curricula.CURRICULA, default="cores")
    args.add_argument("--fixed", action="store_true", help="scenes that are not free, see scenes.sample")
    a = args.parse_args()
    device = run.device()
    os.makedirs(a.out, exist_ok=True)
    encoder = autoencoder.encoder(a.out).to(device)
    with ProcessPoolExecutor() as pool:
        for (width, height), full in SHAPES.items():
            path = os.path.join(a.out, f"latents-{width}x{height}.pt")
            if (width, height) not in curricula.shapes(a.curriculum) or os.path.exists(path):
                continue
            count = max(8, round(full * a.scale))
            jobs = [
                (width, height, min(CHUNK, count - at), 1_000_000 * width + 1000 * height + at, not a.fixed)
                for at in range(0, count, CHUNK)
            ]
            made, tokens, things = [], [], []
            for some, pictures, at in pool.map(drawn, jobs):
                made += some
                things.append(torch.from_numpy(at))
                with torch.no_grad():
                    tokens += [
                        pack(encoder(autoencoder.to_float(x).to(device))).half().cpu()
                        for x in np.array_split(pictures, max(1, len(pictures) // 16))
                    ]
            run.save(
                path,
                {
                    "captions": [scene.caption for scene in made],
                    "tasks": [scene.task for scene in made],
                    "tokens": torch.cat(tokens),
                    "things": torch.cat(things),
                    "width": width,
                    "height": height,
                },
            )
            print(f"{path}: {count} scenes", flush=True)


if __name__ == "__main__":
    main()
