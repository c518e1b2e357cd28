from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
import torch

from ralu_stage.engine.diffusers_model import DiffusersModel
from ralu_stage.load import LoadSettings, load_model, quiet

torch.set_num_threads(1)
quiet()


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny model by its name, written once. Tests that change it copy it first."""
    folder, made = tmp_path_factory.mktemp("tiny"), {}

    def get(name: str) -> Path:
        if name not in made:
            made[name] = tiny.write(name, folder)
        return made[name]

    return get


@pytest.fixture(scope="session")
def tiny_model(tiny_folder: Callable[[str], Path]) -> Callable[[str], DiffusersModel]:
    """A tiny model by its name, loaded once, on the CPU."""
    made = {}

    def get(name: str) -> DiffusersModel:
        if name not in made:
            made[name] = load_model(str(tiny_folder(name)), LoadSettings(device="cpu"))
        return made[name]

    return get
