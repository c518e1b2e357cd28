"""A model in closed form, small and exact, for everything about a stage server that is not the model: v = tanh(x) *
(0.5 + sigma), pictures straight from the latents."""

from __future__ import annotations

import math
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any

import numpy
import torch

from ralu_stage.contract.request import StageJob
from ralu_stage.model import Denoised, ModelFailed, NotFinite, OnStep, Stopped
from ralu_stage.picture.colours import Colours

WORDS = {"a", "red", "apple", "on", "blue", "background"}
TEXT_TOKENS = 6

FACTS: dict[str, Any] = {
    "id": "closed-form",
    "aliases": ["cf"],
    "channels": 4,
    "token_pixels": 16,
    "sizes": [{"width": 128, "height": 128}, {"width": 128, "height": 64}],
    "shift": [{"tokens": 64, "shift": 3.0}],
    "steps": 50,
    "guidance": None,
    "negative_prompt": False,
    "text_tokens": TEXT_TOKENS,
    "max_tokens": 64,
    "scripts": None,
    "flops": {
        "per_token": 1,
        "per_token_squared": 1,
        "fixed": 1,
        "attention_per_token": 0,
        "attention_fixed": 0,
        "decode_per_pixel": 1,
        "text": 1,
    },
    "digest": "closed-form-1",
    "licence": "MIT",
    "card": "tests/closed_form.py",
}


class ClosedForm:
    """The model, and what was asked of it. `before` is called before each `text`, `velocity` and `decode`, so a test
    can hold, slow or break the model there."""

    def __init__(self, before: Callable[[str], None] = lambda part: None, **facts: Any) -> None:
        self.facts = FACTS | facts
        self.engine_class = "closed-form/1 cpu"
        self.deterministic = True
        self.colours: Colours | None = _colours(self.facts["channels"])
        self.calls: Counter[str] = Counter()
        self.prompts: list[str] = []
        self.threads: dict[str, set[str]] = defaultdict(set)
        """the names of the threads that each part ran in"""
        self.forgotten: list[str] = []
        """stages whose prompts were to be forgotten"""
        self.unused_s: list[float] = []
        self.is_closed = False
        self._before = before

    def denoise(self, job: StageJob, on_step: OnStep, should_stop: Callable[[], bool]) -> Denoised:
        start = time.perf_counter()
        text_tokens, warnings = self._part("text", lambda: self._encode_text(job.options.prompt))
        encode_text_ms = (time.perf_counter() - start) * 1000
        push = 0.01 * text_tokens + 0.1 * (job.guidance or 0)
        x = job.latents.astype(numpy.float64)
        clean, former, known, compute_ms, evaluations = x, None, [], 0.0, 0
        for step in range(1, job.steps + 1):
            if should_stop():
                raise Stopped
            sigma, after = float(job.sigmas[step - 1]), float(job.sigmas[step])
            start = time.perf_counter()
            if job.options.evaluates(step):
                v = self._part("velocity", lambda x=x, sigma=sigma: numpy.tanh(x) * (0.5 + sigma + push))
                evaluations += 1
                if job.options.cache is not None:
                    known = _differences(known, step, v, job.options.cache.order)
            else:
                v = sum(d * (step - known[0][0]) ** m / math.factorial(m) for m, d in enumerate(known[0][1]))
            clean = x - sigma * v
            if job.options.solver == "ab2" and former is not None:
                rho = (after - sigma) / (sigma - float(job.sigmas[step - 2]))
                x = x + (after - sigma) * ((1 + rho / 2) * v - rho / 2 * former)
            else:
                x = x + (after - sigma) * v
            former = v
            x = x.astype(numpy.float32).astype(numpy.float64)
            ms = (time.perf_counter() - start) * 1000
            compute_ms += ms
            seen = x - after * v
            on_step(step, sigma, ms, lambda seen=seen: torch.from_numpy(seen.astype(numpy.float32)))
        if not numpy.isfinite(x).all():
            raise NotFinite(f"after {job.steps} steps the latents are not finite")
        return Denoised(
            latents=torch.from_numpy(x.astype(numpy.float32)),
            clean=torch.from_numpy(clean.astype(numpy.float32)),
            encode_text_ms=encode_text_ms,
            compute_ms=compute_ms,
            evaluations=evaluations,
            text_tokens=text_tokens,
            warnings=warnings,
        )

    def forget_texts(self, stage_id: str) -> None:
        self.forgotten.append(stage_id)

    def forget_unused_texts(self, seconds: float) -> None:
        self.unused_s.append(seconds)

    def decode(self, latents: torch.Tensor, rows: int, cols: int) -> numpy.ndarray:
        self._note("decode")
        half = self.facts["token_pixels"] // 2
        # token = (channel, row, column) of a square of 2 x 2
        squares = latents.numpy().reshape(rows, cols, -1, 2, 2)[:, :, :3]
        pixels = squares.transpose(0, 3, 1, 4, 2).reshape(2 * rows, 2 * cols, 3)
        levels = numpy.floor(127.5 + 60 * pixels.astype(numpy.float64) + 0.5).clip(0, 255).astype(numpy.uint8)
        return levels.repeat(half, axis=0).repeat(half, axis=1)

    def close(self) -> None:
        self.is_closed = True

    def _encode_text(self, prompt: str) -> tuple[int, list[str]]:
        self.prompts.append(prompt)
        words = prompt.lower().split()
        known = [word for word in words if word in WORDS]
        kept = known[:TEXT_TOKENS]
        skipped = [word for word in words if word not in WORDS]
        warnings = [f"words the model does not know were skipped: {', '.join(skipped)}"] if skipped else []
        if len(kept) < len(known):
            warnings.append(f"the text was cut after {TEXT_TOKENS} words")
        return len(kept), warnings

    def _part(self, part: str, work: Callable[[], Any]) -> Any:
        try:
            self._note(part)
            return work()
        except Exception as cause:
            raise ModelFailed(part, cause) from cause

    def _note(self, part: str) -> None:
        self.calls[part] += 1
        self.threads[part].add(threading.current_thread().name)
        self._before(part)


def _colours(channels: int) -> Colours:
    """What `decode` does, as a map."""
    weights = numpy.zeros((2, 2, channels + 1, 1, 1, 3))
    for colour in range(min(3, channels)):
        weights[:, :, colour, 0, 0, colour] = 60
    weights[:, :, -1] = 127.5
    return Colours(weights)


def _differences(
    known: list[tuple[int, list[numpy.ndarray]]], step: int, v: numpy.ndarray, order: int
) -> list[tuple[int, list[numpy.ndarray]]]:
    """The differences at this evaluation, from those at the one before."""
    differences = [v]
    for former_step, former in known:
        for m, difference in enumerate(former[:order]):
            differences.append((differences[m] - difference) / (step - former_step))
    return [(step, differences)]
