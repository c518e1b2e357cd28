"""A prompt as a transformer reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True)
class Encoded:
    states: torch.Tensor
    """[1, L, E]: L text tokens, padding included"""
    pooled: torch.Tensor | None
    """[1, P]: the whole prompt in one vector; None where the family has none"""
    warnings: tuple[str, ...]
    """sentences for the caller; they do not repeat the prompt"""

    @property
    def bytes(self) -> int:
        return self.states.nbytes + (0 if self.pooled is None else self.pooled.nbytes)


class TextEncoder(Protocol):
    text_tokens: int
    """L of every prompt"""

    def tokens_of(self, component: str) -> int:
        """Tokens that one of the encoders reads, padding included, by its name in the pipeline."""
        ...

    def encode(self, prompt: str) -> Encoded:
        """The prompt, which may be empty or hold anything. Enqueues work on the encoder's device."""
        ...
