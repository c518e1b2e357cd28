"""Everything a training needs that no accelerator is needed for:

    python lab/train/prepare.py

Draws the scenes' layouts with their captions and tokens, fits the encoder's components, packs the sprites used, and
fetches the wheels that the machine lacks; `train.py` reads it all from one folder. What travels (this folder and the
files of the repository) must fit `--all-bytes`. Needs the emoji: npm ci --prefix lab
"""

import argparse
import json
import os
import random
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata
from pathlib import Path

import numpy as np
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from safetensors.torch import save_file

import atlas
import autoencoder
import curriculum
import packed
import prompts
import scenes
import text
import vocabulary
from vocabulary import Vocabulary

CHUNK = 500  # scenes of one random generator
PICTURES = {128: 400, 256: 200, 512: 50}  # that components are fitted to, by side
MACHINE = {"python": "3.12", "platforms": [f"manylinux_2_{minor}_x86_64" for minor in (28, 27, 24, 17)]}
PACKAGES = ["torch", "diffusers", "tokenizers", "safetensors", "numpy", "pillow"]  # that train.py imports
# what ends the names of what PyTorch brings along on a machine with a GPU
OF_TORCH = ("nvidia-", "cuda-", "triton")


def drawn(job: tuple[str, int, int, int, int]) -> list[scenes.Scene]:
    name, width, height, count, seed = job
    rng, words = random.Random(seed), vocabulary.load(name)
    return [scenes.training_scene(rng, words, width / height) for _ in range(count)]


def captions(made: list[scenes.Scene], tokenizer, seed: int) -> dict[str, np.ndarray]:
    """`ids` uint16 [s, 64], `lengths` uint8 [s] and `singles` bool [s], as pool.Pool wants them. A caption of more than
    64 tokens is cut.
    """
    rng = random.Random(seed)
    ids, lengths = np.zeros((len(made), text.MAX_TOKENS), np.uint16), np.zeros(len(made), np.uint8)
    for i, scene in enumerate(made):
        found = text.encode(scene.caption, tokenizer, rng)[: text.MAX_TOKENS]
        ids[i, : len(found)], lengths[i] = found, len(found)
    return {"ids": ids, "lengths": lengths, "singles": np.array([scene.task == "single" for scene in made])}


def pictures(words: Vocabulary, scale: float) -> list[np.ndarray]:
    rng = random.Random(7)
    return [
        scenes.draw(scenes.training_scene(rng, words), side, side, words)
        for side, count in PICTURES.items()
        for _ in range(max(4, round(count * scale)))
    ]


def brought(packages: list[str], has: list[str]) -> dict[str, str]:
    """Version by name of everything that `packages` need on the machine and `has`, with what it needs, lacks; as
    installed here.
    """

    def needs(names: list[str]) -> set[str]:
        found, left = set(), [canonicalize_name(name) for name in names]
        while left:
            name = left.pop()
            if name in found or name.startswith(OF_TORCH):
                continue
            found.add(name)
            for line in metadata.requires(name) or []:
                need = Requirement(line)
                environment = {"python_version": MACHINE["python"], "sys_platform": "linux", "extra": ""}
                if need.marker is None or need.marker.evaluate(environment):
                    left.append(canonicalize_name(need.name))
        return found

    return {name: metadata.version(name) for name in sorted(needs(packages) - needs(has))}


def fetch_wheels(wanted: dict[str, str], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.whl"):
        old.unlink()
    if wanted:
        subprocess.run(
            [
                *[sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"],
                *["--python-version", MACHINE["python"], "--implementation", "cp", "--dest", str(folder)],
                *[option for each in MACHINE["platforms"] for option in ("--platform", each)],
                *[f"{name}=={version}" for name, version in wanted.items()],
            ],
            check=True,
        )


def bytes_of_repository() -> int:
    """Of the files that git tracks or would; 0 outside a repository."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], capture_output=True, text=True
    )
    files = listed.stdout.split("\0") if listed.returncode == 0 else []
    return sum(os.path.getsize(file) for file in files if file and os.path.isfile(file))


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--out", type=Path, default=Path(".ralu/train/data"))
    args.add_argument("--vocabulary", default="fluent-449", help="a file of lab/train/vocabularies")
    args.add_argument("--scale", type=float, default=1.0, help="scenes relative to curriculum.SCENES")
    args.add_argument(
        "--has",
        default="torch,numpy,pillow",
        help="packages the machine has, with what they need; none: fetches no wheels",
    )
    args.add_argument(
        "--all-bytes", type=int, default=64 * 2**20, help="what may travel there, the repository included"
    )
    a = args.parse_args()
    words = vocabulary.load(a.vocabulary)
    a.out.mkdir(parents=True, exist_ok=True)
    tokenizer = text.build_tokenizer(prompts.caption_words(words))
    tokenizer.save(str(a.out / "tokenizer.json"))
    save_file(autoencoder.fit_components(pictures(words, a.scale)), a.out / "components.safetensors")
    atlas.pack_sprites(words, a.out / "sprites.zip")
    with ProcessPoolExecutor() as workers:
        for (width, height), full in curriculum.SCENES.items():
            count = max(8, round(full * a.scale))
            jobs = [
                (a.vocabulary, width, height, min(CHUNK, count - at), 1_000_000 * width + 1000 * height + at // CHUNK)
                for at in range(0, count, CHUNK)
            ]
            made = [scene for some in workers.map(drawn, jobs) for scene in some]
            np.savez_compressed(
                a.out / f"scenes-{width}x{height}.npz",
                **packed.pack_scenes(made, width, height, words),
                **captions(made, tokenizer, width * height),
            )
            print(f"{width} x {height}: {count} scenes", flush=True)
    wanted = {} if a.has == "none" else brought(PACKAGES, a.has.split(","))
    fetch_wheels(wanted, a.out / "wheels")
    (a.out / "recipe.json").write_text(
        json.dumps({"vocabulary": a.vocabulary, "scale": a.scale, "wheels": wanted}, indent=1) + "\n"
    )
    ours = sum(path.stat().st_size for path in a.out.rglob("*") if path.is_file())
    tree = bytes_of_repository()
    print(
        f"{ours / 2**20:.1f} MiB here, {tree / 2**20:.1f} MiB in the repository; wheels: {', '.join(wanted) or 'none'}"
    )
    if ours + tree > a.all_bytes:
        raise SystemExit(f"{ours + tree} bytes would travel; the limit is {a.all_bytes}")


if __name__ == "__main__":
    main()
