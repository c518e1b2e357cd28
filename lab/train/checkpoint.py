"""A checkpoint that travels: half precision, in parts of a stated size, never half written.

`checkpoint.json` names the parts of one generation with their sizes and digests; put together they are one safetensors
file. Parts have names of their own in each generation, and the index changes last, in one step: whoever reads, or is
killed while writing, finds a whole generation.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load, save

INDEX = "checkpoint.json"


@dataclass(frozen=True)
class Limits:
    """What may come back from a machine: bytes of a file, files, and bytes of all of them."""

    file_bytes: int = 16 * 2**20
    files: int = 8
    all_bytes: int = 64 * 2**20


def size(tensors: dict[str, torch.Tensor]) -> int:
    """Bytes of the tensors in half precision."""
    return sum(2 * each.numel() if each.is_floating_point() else each.nbytes for each in tensors.values())


def check_size(tensors: dict[str, torch.Tensor], limits: Limits, others: int) -> None:
    """Raises ValueError where a checkpoint, its index and `others` files beside it could not come back; a mebibyte is
    left to names and to those files.
    """
    bytes_ = size(tensors) + 2**20
    parts = -(-bytes_ // limits.file_bytes)
    if bytes_ > limits.all_bytes or parts + 1 + others > limits.files:
        raise ValueError(
            f"checkpoint: {bytes_} bytes in {parts} parts, an index and {others} other files; limits are"
            f" {limits.all_bytes} bytes in {limits.files} files of {limits.file_bytes}"
        )


def write(folder: Path, tensors: dict[str, torch.Tensor], facts: dict, limits: Limits) -> None:
    """Replaces the folder's checkpoint. `facts` is what JSON holds."""
    folder.mkdir(parents=True, exist_ok=True)
    before = read_index(folder)
    generation = before["generation"] + 1 if before else 0
    keep(folder, [part["file"] for part in before["parts"]] if before else [])
    half = {
        key: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous()
        for key, value in tensors.items()
    }
    content, parts = save(half), []
    for number, at in enumerate(range(0, len(content), limits.file_bytes)):
        part = content[at : at + limits.file_bytes]
        name = f"checkpoint-{generation}-{number}"
        write_file(folder / name, part)
        parts.append({"file": name, "bytes": len(part), "sha256": hashlib.sha256(part).hexdigest()})
    index = {"generation": generation, "facts": facts, "parts": parts}
    write_file(folder / INDEX, json.dumps(index, indent=1).encode())
    keep(folder, [part["file"] for part in parts])


def keep(folder: Path, names: list[str]) -> None:
    """Deletes all other parts, and what a killed writer left."""
    for path in [*folder.glob("checkpoint-*-*"), *folder.glob(".checkpoint*")]:
        if path.name not in names:
            path.unlink()


def write_file(path: Path, content: bytes) -> None:
    """Whole or not at all. The dot keeps what is under way from being taken for a part."""
    under_way = path.with_name(f".{path.name}")
    under_way.write_bytes(content)
    os.replace(under_way, path)


def read_index(folder: Path) -> dict | None:
    path = folder / INDEX
    return json.loads(path.read_text()) if path.exists() else None


def read(folder: Path) -> tuple[dict[str, torch.Tensor], dict] | None:
    """(tensors in half precision, facts); None where there is no checkpoint. Raises ValueError where a part is missing
    or is not what was written.
    """
    index = read_index(folder)
    if index is None:
        return None
    content = b""
    for part in index["parts"]:
        path = folder / part["file"]
        found = path.read_bytes() if path.exists() else None
        if found is None or hashlib.sha256(found).hexdigest() != part["sha256"]:
            raise ValueError(f"{path}: {'missing' if found is None else 'not the bytes that were written'}")
        content += found
    return load(content), index["facts"]
