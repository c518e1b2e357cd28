"""Regional compilation: the repeated blocks of a transformer as compiled graphs, other parts as they are."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from ralu_stage.engine.blocks import PARTS

MOST_GRAPHS = 128
"""Graphs of a class of block: for each static token count and for any, one or two passes, features recorded or not, and
tensors laid out in one or two ways."""


class Compiled:
    """The blocks of a transformer, compiled twice: for the exact token counts of its presets, and for any other.

    A graph is made when a count is first met, which takes seconds; `load` meets the static counts at start. All blocks
    of a class share their graphs.
    """

    def __init__(self, transformer: nn.Module, static_counts: Iterable[int], backend: str = "inductor") -> None:
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, MOST_GRAPHS)
        self.static_counts = frozenset(static_counts)
        self.blocks = [block for block in transformer.modules() if type(block).__name__ in PARTS]
        self.calls = [
            {
                is_dynamic: torch.compile(block.forward, backend=backend, dynamic=is_dynamic)
                for is_dynamic in (False, True)
            }
            for block in self.blocks
        ]

    def choose(self, tokens: int) -> None:
        """The graphs for stages of so many image tokens."""
        is_dynamic = tokens not in self.static_counts
        for block, calls in zip(self.blocks, self.calls, strict=True):
            block.forward = calls[is_dynamic]


def static_counts(rows: int, cols: int, ratios: Iterable[float]) -> list[int]:
    """Token counts of a picture's stages: the full grid, and where it has a half, that and the mixed ones.

    With the share r of M / 4 low tokens upsampled early, a mixed stage has M / 4 + 3 floor(r M / 4).
    """
    counts = [rows * cols]
    if rows % 2 == 0 and cols % 2 == 0:
        low = rows * cols // 4
        counts += [low, *(low + 3 * int(ratio * low) for ratio in ratios)]
    return sorted(set(counts))
