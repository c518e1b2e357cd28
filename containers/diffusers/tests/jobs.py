"""Stages for tests: grids of tokens, and jobs over them."""

from __future__ import annotations

from typing import Any

import numpy

from ralu_stage.contract.request import StageJob, StageOptions
from ralu_stage.engine.diffusers_model import DiffusersModel
from ralu_stage.model import Denoised

OFFSETS = [(0, 0), (0, 0.5), (0.5, 0), (0.5, 0.5)]


def full_grid(rows: int, cols: int) -> numpy.ndarray:
    """Places [(rows cols), 3] of a whole grid, row by row."""
    row, col = numpy.divmod(numpy.arange(rows * cols), cols)
    return numpy.stack([numpy.zeros(rows * cols), row, col], axis=1).astype(numpy.float32)


def mixed_grid(rows: int, cols: int, picked: list[int]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Places and scales where some tokens of a low grid gave way to four full ones: kept ones first."""
    low = full_grid(rows, cols)
    kept = numpy.delete(low, picked, axis=0)
    children = [low[i] + (0, *offset) for i in picked for offset in OFFSETS]
    places = numpy.concatenate([kept, children]).astype(numpy.float32)
    return places, numpy.array([2] * len(kept) + [1] * len(children), numpy.uint8)


def noise(tokens: int, channels: int, seed: int = 0) -> numpy.ndarray:
    return numpy.random.default_rng(seed).normal(size=(tokens, 4 * channels)).astype(numpy.float32)


def make_job(
    model: DiffusersModel,
    *,
    places: numpy.ndarray,
    sigmas: list[float] | numpy.ndarray,
    width: int,
    height: int,
    scale: numpy.ndarray | None = None,
    latents: numpy.ndarray | None = None,
    guidance: float | None = None,
    **options: Any,
) -> StageJob:
    """A stage over these places; guidance is the model's default unless it is given."""
    default = model.facts["guidance"]
    values = {
        "model": model.facts["id"],
        "prompt": "a red cat",
        "negative_prompt": "",
        "guidance": None,
        "width": width,
        "height": height,
        "decode": "none",
        "rgb": False,
        "format": "png",
        "quality": 90,
        "preview": None,
        "cache": None,
        "traceparent": "",
        "clean_latents": True,
    }
    return StageJob(
        model=model.facts["id"],
        options=StageOptions.model_validate({**values, **options}),
        latents=noise(len(places), model.facts["channels"]) if latents is None else latents,
        img_ids=places,
        scale=numpy.ones(len(places), numpy.uint8) if scale is None else scale,
        sigmas=numpy.asarray(sigmas, numpy.float32),
        guidance=guidance if guidance is not None or default is None else default["default"],
        cover=None,
    )


def denoise(model: DiffusersModel, job: StageJob) -> Denoised:
    return model.denoise(job, lambda *_: None, lambda: False)


def difference(a: Any, b: Any) -> float:
    """Largest difference of two arrays over the largest value of the second."""
    a, b = numpy.asarray(a), numpy.asarray(b)
    return float(numpy.abs(a - b).max() / numpy.abs(b).max())
