"""Where a model lies: a folder in diffusers' format, and what its files say before any weight is read."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import transformers
from huggingface_hub import metadata_load, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from torch import nn

from ralu_stage.families import FAMILIES, Family
from ralu_stage.known import LICENCES, UNKNOWN, Licence

WEIGHTS = ("diffusion_pytorch_model", "model")
"""Names of weight files, of diffusers and of transformers; variants such as `model.fp16` are other weights."""


class LoadError(Exception):
    """A model that cannot be served, in one sentence for the operator."""


@dataclass(frozen=True)
class Source:
    name: str
    """the hub id, or the folder's name"""
    folder: Path
    pipeline: str
    family: Family
    components: Mapping[str, tuple[str, str]]
    """name: (library, class) of every component that is there"""
    configs: Mapping[str, Mapping[str, Any]]
    """name: configuration of every component that has one"""
    absent: tuple[str, ...]
    """components that the pipeline could have, and this one has not"""

    def weight_files(self, component: str) -> list[Path]:
        """The safetensors files of a component. Raises LoadError where one is missing."""
        folder = self.folder / component
        for name in WEIGHTS:
            whole, index = folder / f"{name}.safetensors", folder / f"{name}.safetensors.index.json"
            if index.exists():
                shards = sorted(set(read_json(index).get("weight_map", {}).values()))
                for shard in shards:
                    if not (folder / shard).is_file():
                        raise LoadError(f"{component}/{shard} is missing; {component}/{index.name} names it")
                return [index, *(folder / shard for shard in shards)]
            if whole.exists():
                return [whole]
        raise LoadError(
            f"{component} has no weights; expected {component}/{WEIGHTS[0]}.safetensors or a list of shards"
        )

    def component_class(self, name: str) -> type[nn.Module]:
        """The class of a component that has weights. Raises LoadError where the libraries here do not have it."""
        library, kind = self.components[name]
        found = getattr({"diffusers": diffusers, "transformers": transformers}.get(library), kind, None)
        if found is None:
            raise LoadError(f"the component {name} is {library}.{kind}, which is not known here")
        return found

    @property
    def models(self) -> list[str]:
        """Components that have weights."""
        return [name for name in self.components if name == "vae" or name.startswith(("transformer", "text_encoder"))]

    @property
    def licence(self) -> Licence:
        """As the folder's model card states it."""
        try:
            card = metadata_load(self.folder / "README.md") or {}
        except (OSError, ValueError):
            card = {}
        names = [card.get(key) for key in ("license_name", "license")]
        stated = next((str(name) for name in names if name not in (None, "other")), "")
        return LICENCES.get(stated.lower(), Licence(stated or "not stated", UNKNOWN))


def open_source(model: str) -> Source:
    """The model of a folder or, where there is no such folder, of a hub id, which is downloaded unless it is there.

    Raises LoadError where it is neither, is not in diffusers' format, is of no known pipeline class, or lacks a file.
    """
    folder = Path(model).expanduser()
    if not folder.is_dir():
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
            raise LoadError(f"{model} is no folder, and no hub id of the form owner/name")
        folder = download(model)
    index_path = folder / "model_index.json"
    if not index_path.is_file():
        raise LoadError(f"{folder} has no model_index.json; expected a pipeline in diffusers' format")
    index = read_json(index_path)
    pipeline = index.get("_class_name")
    family = FAMILIES.get(pipeline)
    if family is None:
        raise LoadError(f"the pipeline's class is {pipeline}; known are {', '.join(FAMILIES)}")
    components = {
        name: tuple(value)
        for name, value in index.items()
        if isinstance(value, list) and len(value) == 2 and all(isinstance(each, str) for each in value)
    }
    for name in ("transformer", "vae", "scheduler", *family.encoders):
        if name not in components:
            raise LoadError(f"{index_path.name} names no {name}, which {pipeline} needs")
    for name, expected in (("transformer", family.transformer), ("vae", family.vae)):
        _, kind = components[name]
        if kind != expected:
            raise LoadError(f"the component {name} is of class {kind}; {pipeline} expects {expected}")
    configs = {}
    for name in components:
        path = folder / name / ("scheduler_config.json" if name == "scheduler" else "config.json")
        if path.is_file():
            configs[name] = read_json(path)
    is_hub = not Path(model).expanduser().is_dir()
    absent = tuple(name for name, value in index.items() if value == [None, None])
    source = Source(model if is_hub else folder.resolve().name, folder, pipeline, family, components, configs, absent)
    for name in [*source.models, "scheduler"]:
        if name not in configs:
            raise LoadError(f"{name} has no configuration; {index_path.name} names it")
        stated = configs[name].get("_class_name", components[name][1])
        if stated != components[name][1]:
            raise LoadError(f"{name}/config.json is of class {stated}; {index_path.name} says {components[name][1]}")
    for name in source.models:
        source.weight_files(name)
    return source


def download(model: str) -> Path:
    """The folder of a hub id: the files that are read, and no others."""
    try:
        return Path(
            snapshot_download(
                model,
                allow_patterns=["model_index.json", "README.md", "*/*.json", "*/*.txt", "*/*.model", "*/*.jinja"]
                + [f"*/{name}{end}" for name in WEIGHTS for end in (".safetensors", "-*-of-*.safetensors")],
            )
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise LoadError(f"{model} is no folder here, and the hub did not give it: {type(error).__name__}") from error


def digest(source: Source) -> str:
    """SHA-256 over everything that decides the model's output: weights, configurations, tokenizers.

    It is the same for the same files, wherever they lie. A hub's cache names large files by their own SHA-256, so those
    are not read.
    """
    files = [source.folder / "model_index.json"]
    for name in source.components:
        folder = source.folder / name
        files += source.weight_files(name) if name in source.models else []
        files += [path for end in ("json", "txt", "model", "jinja") for path in folder.glob(f"*.{end}")]
    files = sorted({path for path in files if not path.name.endswith(".index.json")})
    with ThreadPoolExecutor(4) as pool:
        hashes = list(pool.map(hash_file, files))
    whole = hashlib.sha256()
    for path, each in zip(files, hashes, strict=True):
        whole.update(f"{path.relative_to(source.folder).as_posix()}\n{each}\n".encode())
    return whole.hexdigest()


def hash_file(path: Path) -> str:
    blob = path.resolve()
    if blob.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return blob.name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a file. Raises LoadError where it is none."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LoadError(f"{path.parent.name}/{path.name} is no JSON") from error
    if not isinstance(value, dict):
        raise LoadError(f"{path.parent.name}/{path.name} is no JSON object")
    return value
