"""The steps of one stage: from latents at one noise level to latents at another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from ralu_stage.engine.blocks import BlockForecast
from ralu_stage.engine.pace import Pace
from ralu_stage.engine.solver import advance, follow_line
from ralu_stage.engine.taylor import Differences

Velocity = Callable[[torch.Tensor, float], torch.Tensor]
"""velocity(x [n, D] float32, sigma) -> noise - clean [n, D] float32"""


class Cache(Protocol):
    """The contract's `cache`: which steps are forecast, and what of them."""

    kind: str
    order: int

    def evaluates(self, step: int) -> bool: ...


@dataclass(frozen=True)
class Result:
    latents: torch.Tensor
    """[n, D] float32 at the last sigma"""
    clean: torch.Tensor
    """[n, D] float32: the clean estimate of the last step"""
    evaluations: int


def run_steps(
    velocity: Velocity,
    latents: torch.Tensor,
    sigmas: Sequence[float],
    pace: Pace,
    *,
    solver: str = "euler",
    cache: Cache | None = None,
    blocks: BlockForecast | None = None,
) -> Result:
    """Latents [n, D] float32 taken from sigmas[0] to sigmas[-1], and the clean estimate.

    No step adds noise, and nothing is remembered from one call to the next. Law: by `euler` without a cache, two calls
    end to end give what one with all the steps gives, to the bit where the velocity is deterministic. `blocks` belongs
    to the model that the velocity evaluates; a cache of kind `taylor_blocks` needs it.
    """
    forecast = make_forecast(velocity, cache, blocks)
    x, before, evaluations = latents, None, 0
    with torch.no_grad():
        for step in range(1, len(sigmas)):
            pace.begin()
            sigma, sigma_next = sigmas[step - 1], sigmas[step]
            v, is_computed = forecast(step, x, sigma)
            evaluations += is_computed
            clean = torch.add(x, v, alpha=-sigma) if step == len(sigmas) - 1 else None
            along = v
            if solver == "ab2":
                if before is not None:
                    along = follow_line(v, before, (sigma_next - sigma) / (sigma - sigmas[step - 2]))
                before = v
            x = advance(x, along, sigma, sigma_next)
            pace.end(step, sigma, x, look_back(x, v, sigma_next))
    return Result(latents=x, clean=clean, evaluations=evaluations)


def look_back(x: torch.Tensor, velocity: torch.Tensor, sigma: float) -> Callable[[], torch.Tensor]:
    """Gives the clean estimate after a step that ended at `sigma` in x [n, D], on the CPU. Any thread may ask, once the
    step is done. It holds both tensors, which nobody writes to again."""
    # the copy waits, so the tensors are let go only when they have been read
    return lambda: torch.add(x, velocity, alpha=-sigma).cpu()


def make_forecast(
    velocity: Velocity, cache: Cache | None, blocks: BlockForecast | None
) -> Callable[[int, torch.Tensor, float], tuple[torch.Tensor, bool]]:
    """A function from step, latents and sigma to the velocity and whether it, or its blocks, were evaluated."""
    if cache is None:
        return lambda _step, x, sigma: (velocity(x, sigma), True)

    if cache.kind == "taylor_blocks":
        if blocks is None:
            raise ValueError("cache.kind is taylor_blocks; the model's blocks cannot be forecast")
        blocks.clear(cache.order)

        def by_blocks(step: int, x: torch.Tensor, sigma: float) -> tuple[torch.Tensor, bool]:
            computes = cache.evaluates(step)
            with blocks.recording(step) if computes else blocks.forecasting(step):
                return velocity(x, sigma), computes

        return by_blocks

    differences = Differences(cache.order)

    def by_velocity(step: int, x: torch.Tensor, sigma: float) -> tuple[torch.Tensor, bool]:
        if not cache.evaluates(step):
            return differences.at(step), False
        v = velocity(x, sigma)
        differences.add(step, v)
        return v, True

    return by_velocity
