"""The last messages of a stage whose steps are done: its latents, and its picture as asked."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy
import torch

from ralu_stage.contract import events
from ralu_stage.contract.message import Message, encode_message
from ralu_stage.contract.request import StageJob
from ralu_stage.model import Denoised, Model, ModelFailed, NotFinite, Stopped
from ralu_stage.picture.encode import encode_image, encode_small
from ralu_stage.picture.enlarge import double_picture, fit_picture
from ralu_stage.picture.whole_grid import whole_grid

T = TypeVar("T")


@dataclass(frozen=True)
class Result:
    """The message `done`, encoded, and the pixels that were decoded for it."""

    message: bytes
    rgb: numpy.ndarray | None


def decodes_for_result(job: StageJob) -> bool:
    """Whether `done` waits for a picture. A late preview alone is decoded after it."""
    return job.cover is not None and (job.options.rgb or not job.options.late_preview)


def draw_result(model: Model, job: StageJob, denoised: Denoised, should_stop: Callable[[], bool]) -> Result:
    """The message `done`, without a late preview. Law: same job, same model → same tensor bytes.

    `should_stop` is asked before decode and before encode. Raises Stopped when it says so, and ModelFailed.
    """
    options = job.options
    tensors: dict[str, numpy.ndarray] = {}
    if options.decode != "image":
        tensors["latents"] = _to_array(denoised.latents)
    if options.clean_latents and denoised.clean is not None:
        tensors["clean_latents"] = _to_array(denoised.clean)
    rgb = None
    decode_ms = encode_ms = 0.0
    if decodes_for_result(job):
        rgb, decode_ms = _decode(model, job, denoised, should_stop)
        if options.rgb:
            tensors["rgb"] = rgb
        if not options.late_preview:
            files, encode_ms = _encode(job, rgb, should_stop)
            tensors |= files
    metadata = events.done(
        compute_ms=denoised.compute_ms,
        encode_text_ms=denoised.encode_text_ms,
        decode_ms=decode_ms,
        encode_ms=encode_ms,
        steps_done=job.steps,
        evaluations=denoised.evaluations,
        text_tokens=denoised.text_tokens,
        engine=model.engine_class,
        model_digest=model.facts["digest"],
        warnings=denoised.warnings,
    )
    return Result(encode_message(Message(metadata, tensors)), rgb)


def draw_preview(
    model: Model, job: StageJob, denoised: Denoised, rgb: numpy.ndarray | None, should_stop: Callable[[], bool]
) -> bytes:
    """The message `preview`, encoded: of `rgb` where the result has it already. Asks and raises as `draw_result`."""
    decode_ms = 0.0
    if rgb is None:
        rgb, decode_ms = _decode(model, job, denoised, should_stop)
    files, encode_ms = _encode(job, rgb, should_stop)
    return encode_message(Message(events.preview(decode_ms, encode_ms), files))


def _decode(
    model: Model, job: StageJob, denoised: Denoised, should_stop: Callable[[], bool]
) -> tuple[numpy.ndarray, float]:
    _stop_if(should_stop)
    latents = denoised.latents if job.options.decode == "image" or denoised.clean is None else denoised.clean
    return _timed("decode", lambda: decode_picture(model, job, latents))


def _encode(
    job: StageJob, rgb: numpy.ndarray, should_stop: Callable[[], bool]
) -> tuple[dict[str, numpy.ndarray], float]:
    _stop_if(should_stop)
    return _timed("encode", lambda: encode_asked(job, rgb))


def decode_picture(model: Model, job: StageJob, latents: torch.Tensor) -> numpy.ndarray:
    """Pixels, uint8 [height, width, 3], of tokens that cover a grid, decoded at the size that their places count: half
    in both directions before the last stage. Low tokens alone stay that size; a mixed grid's picture is enlarged to the
    image's. Raises ValueError for a job without a cover."""
    cover = job.cover
    if cover is None:
        raise ValueError("cover is None, expected one: the stage decodes nothing")
    rows, cols = cover.rows // cover.unit, cover.cols // cover.unit
    tokens = torch.from_numpy(whole_grid(job.img_ids, job.scale, rows, cols)).to(latents.device)
    rgb = model.decode(latents[tokens], rows, cols)
    return double_picture(rgb) if cover.unit == 2 and (job.scale == 1).any() else rgb


def encode_asked(job: StageJob, rgb: numpy.ndarray) -> dict[str, numpy.ndarray]:
    """The files of a picture as tensors of bytes: `image`, `preview`, as asked."""
    options = job.options
    files: dict[str, bytes] = {}
    if options.decode == "image":
        size = options.enlarge
        picture = fit_picture(rgb, size.width, size.height) if size else rgb
        files["image"] = encode_image(picture, options.format, options.quality)
    if options.preview is not None:
        preview = options.preview
        files["preview"] = encode_small(rgb, preview.format, preview.longest_side, options.quality).data
    return {name: numpy.frombuffer(data, numpy.uint8) for name, data in files.items()}


def _to_array(latents: torch.Tensor) -> numpy.ndarray:
    return latents.to("cpu", torch.float32).contiguous().numpy()


def _stop_if(should_stop: Callable[[], bool]) -> None:
    if should_stop():
        raise Stopped


def _timed(part: str, work: Callable[[], T]) -> tuple[T, float]:
    """The result and its milliseconds. Raises ModelFailed with the part's name."""
    start = time.perf_counter()
    try:
        return work(), (time.perf_counter() - start) * 1000
    except (ModelFailed, NotFinite):
        raise
    except Exception as cause:
        raise ModelFailed(part, cause) from cause
