"""One step of a solver between two noise levels, as docs/stage-contract.md defines it."""

from __future__ import annotations

import torch


def advance(x: torch.Tensor, velocity: torch.Tensor, sigma: float, sigma_next: float) -> torch.Tensor:
    """Latents at `sigma_next`: Euler's step from `sigma` along the velocity. float32."""
    return torch.add(x, velocity, alpha=sigma_next - sigma)


def follow_line(velocity: torch.Tensor, before: torch.Tensor, rho: float) -> torch.Tensor:
    """The velocity of Adams-Bashforth's second order: the line through this velocity and the one before.

    `rho` is the length of this step over that of the step before. Law: with rho = 1 it is 1.5 v - 0.5 u.
    """
    return torch.add(velocity * (1 + rho / 2), before, alpha=-rho / 2)
