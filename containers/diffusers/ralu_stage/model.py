"""What the server needs of a model of any family. `ralu_stage.load` makes one, `ralu_stage.serve` uses it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy
import torch

if TYPE_CHECKING:
    from ralu_stage.contract.request import StageJob
    from ralu_stage.picture.colours import Colours


class Stopped(Exception):
    """The stage was told to stop, and stopped at a step boundary."""


class NotFinite(Exception):
    """The latents, or a picture of them, became NaN or infinite: the same request would end the same way again."""

    def __init__(self, what: str = "the latents") -> None:
        super().__init__(f"{what} became NaN or infinite")


class ModelFailed(Exception):
    """The model threw in one of its parts, out of memory included; it stays usable.

    `cause` has the evidence. Of the part `text` it may quote the prompt, and so belongs in no log.
    """

    def __init__(self, part: str, cause: BaseException) -> None:
        super().__init__(f"the model failed in {part}")
        self.part = part
        self.cause = cause


@dataclass(frozen=True)
class Denoised:
    """What a stage's steps gave. The tensors are complete: any thread may read them."""

    latents: torch.Tensor
    """[n, 4C] float32, on the CPU or the device"""
    clean: torch.Tensor | None
    """[n, 4C] float32 of the clean estimate, where the job decodes it or asks for it"""
    encode_text_ms: float
    compute_ms: float
    evaluations: int
    """steps in which the model, or with `taylor_blocks` its blocks, really ran"""
    text_tokens: int
    warnings: list[str] = field(default_factory=list)


Look = Callable[[], torch.Tensor]
"""gives the clean estimate [n, 4C] float32 after a step, on the CPU; any thread may call it"""
OnStep = Callable[[int, float, float, Look], None]
"""on_step(step, sigma, ms, look): its number from 1, the sigma where it began, its time, and how it looks"""


class Model(Protocol):
    facts: dict[str, Any]
    """one entry of `/v1/models`, without `engine_class` and `deterministic`"""
    engine_class: str
    deterministic: bool
    colours: Colours | None
    """what colours its latents have, roughly; None where that is not known: it then shows no thumbnails"""

    def denoise(self, job: StageJob, on_step: OnStep, should_stop: Callable[[], bool]) -> Denoised:
        """Runs all steps of a stage, in the one thread that owns the device.

        `on_step` is called after each step, forecast ones too. `should_stop` is asked at each step boundary. Raises
        Stopped when it says so, NotFinite, and ModelFailed.
        """
        ...

    def decode(self, latents: torch.Tensor, rows: int, cols: int) -> numpy.ndarray:
        """Pixels, uint8 [rows * token_pixels, cols * token_pixels, 3], of a whole grid's latents [rows * cols, 4C],
        row by row. May run in another thread while `denoise` runs."""
        ...

    def forget_texts(self, stage_id: str) -> None:
        """Forgets the encoded prompts that this stage has used, if it remembers any. Any thread may call it; a stage
        that runs was told to stop before."""
        ...

    def forget_unused_texts(self, seconds: float) -> None:
        """Forgets the encoded prompts that nobody has used for so long. Any thread may call it."""
        ...

    def close(self) -> None:
        """Lets go of the device. Nothing is called after it."""
        ...
