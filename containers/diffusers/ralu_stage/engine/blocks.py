"""Temporal cache of block features: on some steps the parts of a transformer's blocks are forecast, not evaluated.

A part is an attention or a feed-forward network, whose output a gate scales before it is added. Gates, norms and the
output layer are evaluated in every step, with the step's own noise level.

    block:    x ─ norm ─┬─ [attention] ─ gate ─ + ─ norm ─┬─ [feed-forward] ─ gate ─ + ─
                        └ recorded or forecast            └ recorded or forecast
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ralu_stage.engine.taylor import Differences

PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "FluxTransformerBlock": (("attn", "ff", "ff_context"), ()),
    # its attention and feed-forward network end in one layer, proj_out, so that is forecast and what feeds it skipped
    "FluxSingleTransformerBlock": (("proj_out",), ("attn", "proj_mlp")),
    "JointTransformerBlock": (("attn", "attn2", "ff", "ff_context"), ()),
    "Flux2TransformerBlock": (("attn", "ff", "ff_context"), ()),
    "Flux2SingleTransformerBlock": (("attn",), ()),
}
"""Of each class of block: the parts that are forecast, and those that then need not run."""


class State:
    """What the parts of one model do now: `off`, `record` or `forecast`."""

    def __init__(self) -> None:
        self.mode = "off"
        self.step = 0


class Forecast(nn.Module):
    """A part whose output is recorded in one step and forecast in another: a tensor, or a tuple of them."""

    def __init__(self, inner: nn.Module, state: State) -> None:
        super().__init__()
        self.inner, self.state = inner, state
        self.output: Any = None
        self.differences: list[Differences] = []
        self.is_tuple = False

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.state.mode == "forecast":
            values = tuple(each.at(self.state.step) for each in self.differences)
            return values if self.is_tuple else values[0]
        output = self.inner(*args, **kwargs)
        if self.state.mode == "record":
            self.output = output
        return output

    def collect(self, step: int, order: int) -> None:
        """Moves the recorded output of an evaluated step into the differences."""
        self.is_tuple = isinstance(self.output, tuple)
        values = self.output if self.is_tuple else (self.output,)
        self.differences = self.differences or [Differences(order) for _ in values]
        for each, value in zip(self.differences, values, strict=True):
            each.add(step, value)
        self.output = None


class Skip(nn.Module):
    """A part whose output nobody needs in a forecast step: it gives [..., 0] then."""

    def __init__(self, inner: nn.Module, state: State) -> None:
        super().__init__()
        self.inner, self.state = inner, state

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if self.state.mode == "forecast":
            return (args[0] if args else kwargs["hidden_states"])[..., :0]
        return self.inner(*args, **kwargs)


class BlockForecast:
    """The parts of a transformer's blocks, wrapped in place. Throws ValueError for a transformer without known blocks.

    Laws: with the parts off, or recording, the model computes what it does unwrapped. In a forecast step no linear
    layer of a part runs.
    """

    def __init__(self, transformer: nn.Module) -> None:
        self.state, self.order = State(), 0
        self.parts: list[Forecast] = []
        for block in list(transformer.modules()):
            forecast, skipped = PARTS.get(type(block).__name__, ((), ()))
            for name in forecast:
                if getattr(block, name, None) is not None:
                    self.parts.append(Forecast(getattr(block, name), self.state))
                    setattr(block, name, self.parts[-1])
            for name in skipped:
                setattr(block, name, Skip(getattr(block, name), self.state))
        if not self.parts:
            raise ValueError(f"{type(transformer).__name__} has no blocks of {', '.join(PARTS)}")

    def clear(self, order: int = 0) -> None:
        """Forgets everything. Called where a stage begins and ends: its tokens are no other stage's."""
        self.order = order
        for part in self.parts:
            part.differences, part.output = [], None

    @contextmanager
    def recording(self, step: int) -> Iterator[None]:
        """A step in which the blocks run, and their features are remembered."""
        self.state.mode, self.state.step = "record", step
        try:
            yield
            for part in self.parts:
                part.collect(step, self.order)
        finally:
            self.state.mode = "off"

    @contextmanager
    def forecasting(self, step: int) -> Iterator[None]:
        """A step in which the features come from the differences. What runs then is too little to compile."""
        self.state.mode, self.state.step = "forecast", step
        try:
            with torch.compiler.set_stance("force_eager"):
                yield
        finally:
            self.state.mode = "off"
