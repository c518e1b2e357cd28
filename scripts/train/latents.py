"""The training set: scenes as packed latents with their captions, one file a picture shape. Make it: python scripts/train/latents.py (needs the autoencoder)

Latents are normalised by channel, packed as the transformer takes them, and kept in half precision: 2 KiB a 32 x 32 pixels.
"""
import argparse, os, random
from concurrent.futures import ProcessPoolExecutor
import numpy as np, torch
import autoencoder, run, scenes

# (width, height): how many scenes at scale 1
SHAPES = {(128, 128): 32_000, (256, 256): 12_000, (512, 512): 2800, (256, 128): 1200, (128, 256): 1200, (512, 256): 400, (256, 512): 400}
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


def drawn(job: tuple[int, int, int, int]) -> tuple[list[scenes.Scene], np.ndarray]:
    width, height, count, seed = job
    rng = random.Random(seed)
    made = [scenes.training_scene(rng, width / height) for _ in range(count)]
    return made, np.stack([scenes.draw(scene, width, height) for scene in made])


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--out", default=".ralu/train"); args.add_argument("--scale", type=float, default=1); args.add_argument("--workers", type=int, default=os.cpu_count())
    a = args.parse_args()
    device = run.device()
    encoder, _, mean, std = autoencoder.load(a.out, device)
    encoder = encoder.to(memory_format=torch.channels_last)
    with ProcessPoolExecutor(a.workers) as pool:
        for (width, height), full in SHAPES.items():
            path = os.path.join(a.out, f"latents-{width}x{height}.pt")
            if os.path.exists(path): continue
            count = max(8, round(full * a.scale))
            jobs = [(width, height, min(CHUNK, count - at), 1_000_000 * width + 1000 * height + at) for at in range(0, count, CHUNK)]
            made, tokens = [], []
            for some, pictures in pool.map(drawn, jobs):
                made += some
                with torch.no_grad(), torch.autocast(device, torch.bfloat16):
                    for x in torch.from_numpy(pictures).split(16):
                        z = encoder((x.to(device).permute(0, 3, 1, 2).float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)).float()
                        tokens.append(pack((z - mean.to(device)) / std.to(device)).half().cpu())
            run.save(path, {"captions": [scene.caption for scene in made], "tasks": [scene.task for scene in made], "tokens": torch.cat(tokens), "width": width, "height": height})
            print(f"{path}: {count} scenes", flush=True)


if __name__ == "__main__": main()
