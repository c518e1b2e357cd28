"""Forecasts by finite differences over the evaluated steps of a stage, as docs/stage-contract.md defines them."""

from __future__ import annotations

import torch


class Differences:
    """Divided differences of one tensor at the evaluated steps, up to an order.

    Law: what is constant in the step, or with order 1 linear in it, is forecast exactly.
    """

    def __init__(self, order: int) -> None:
        self.order = order
        self.step = 0
        self.values: list[torch.Tensor] = []

    def add(self, step: int, value: torch.Tensor) -> None:
        """Takes the value of an evaluated step, later than all before."""
        gap = step - self.step
        newer = [value]
        for older in self.values[: self.order]:
            newer.append((newer[-1] - older) / gap)
        self.step, self.values = step, newer

    def at(self, step: int) -> torch.Tensor:
        """The forecast for a step: D_0 + D_1 d + D_2 d² / 2! + …, d steps after the last evaluated one."""
        distance = step - self.step
        forecast, weight = self.values[0], 1.0
        for power, difference in enumerate(self.values[1:], start=1):
            weight *= distance / power
            forecast = torch.add(forecast, difference, alpha=weight)
        return forecast
