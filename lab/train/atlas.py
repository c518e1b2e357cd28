"""Sprites on their way to the machine that trains: the package's own files in one archive, and drawn from them there,
in every colour that occurs, the atlas that `compose.Compositor` cuts its things from.
"""

import multiprocessing
import os
import zipfile
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

import packed
import resample
import scenes
from vocabulary import Vocabulary

STYLE = "fluent"
LAB = Path(scenes.HERE).parent
LARGEST = 2**20  # bytes of a file in the archive


def entry(code: str) -> str:
    """Path of an emoji's file from the lab's folder on."""
    folder, pattern = scenes.SOURCES[STYLE]
    return os.path.normpath(os.path.join("train", folder, pattern.format(code)))


def pack_sprites(vocabulary: Vocabulary, path: str | os.PathLike) -> int:
    """How many files it wrote to the archive at `path`: those that the vocabulary's objects are drawn from, unchanged.
    The same files make the same archive, byte for byte. Raises FileNotFoundError when one is missing.
    """
    codes = sorted(set(vocabulary.objects.values()))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for code in codes:
            archive.writestr(zipfile.ZipInfo(entry(code)), (LAB / entry(code)).read_bytes())
    return len(codes)


def unpack_sprites(path: str | os.PathLike, lab: Path = LAB) -> int:
    """How many files it wrote: those of the archive that are not there yet, to where `scenes.sprite` looks for them.
    `lab` is the folder that `train` lies in. Raises ValueError when the archive holds anything but sprites.
    """
    written = 0
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename != entry(Path(info.filename).stem) or info.file_size > LARGEST:
                raise ValueError(
                    f"the archive holds {info.filename} of {info.file_size} bytes; "
                    f"expected {entry('CODE')} of at most {LARGEST}"
                )
        for info in archive.infolist():
            target = lab / info.filename
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_suffix(".part")
                part.write_bytes(archive.read(info))
                part.replace(target)
                written += 1
    return written


class Atlas(NamedTuple):
    """`pixels`: uint8 [pairs, 256, 256, 4], RGBA. `row`: int32 [objects, 1 + colours], where in `pixels` an object in a
    colour is (0: as it is); -1 where it does not occur.
    """

    pixels: np.ndarray
    row: np.ndarray


def some_sprites(vocabulary: Vocabulary, pairs: list[tuple[int, int]]) -> np.ndarray:
    """uint8 [pairs, 256, 256, 4] of (object, colour) as `packed` numbers them."""
    colours = [None, *scenes.COLOURS]
    return np.stack([scenes.sprite(vocabulary, vocabulary.names[a], colours[b], STYLE) for a, b in pairs])


def draw_atlas(packs: Iterable[dict[str, np.ndarray]], vocabulary: Vocabulary, processes: int | None = None) -> Atlas:
    """What the packed scenes show, drawn by `scenes.sprite` in so many processes (None: one a core). They are forked,
    so call it before the process uses a GPU. Raises ValueError for packed scenes of another vocabulary.
    """
    row = np.full((len(vocabulary.names), 1 + len(scenes.COLOURS)), -1, np.int32)
    for each in packs:
        packed.check(each, len(row))
        there = each["sprite"] >= 0
        row[each["sprite"][there], each["colour"][there]] = 0
    pairs = [(int(a), int(b)) for a, b in np.argwhere(row == 0)]
    if not pairs:
        return Atlas(np.zeros((0, resample.SOURCE, resample.SOURCE, 4), np.uint8), row)
    row[tuple(np.transpose(pairs))] = np.arange(len(pairs))
    processes = processes or os.cpu_count() or 1
    size = -(-len(pairs) // (4 * processes))
    parts = [pairs[at : at + size] for at in range(0, len(pairs), size)]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
        return Atlas(np.concatenate(list(pool.map(some_sprites, [vocabulary] * len(parts), parts))), row)
