"""What differs between families of transformers: how tokens, places, noise level and guidance enter the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from ralu_stage.text.encoded import Encoded


@dataclass(frozen=True)
class Places:
    """Where the tokens of a stage stand."""

    ids: torch.Tensor
    """[n, 3] float32 on the model's device: (0, row, column), at halves in a mixed grid"""
    rows: int
    cols: int
    """the whole grid in the unit that ids count in: low tokens, or full ones in the last stage"""


class Adapter(Protocol):
    transformer: nn.Module
    channels: int
    """latent channels; a token holds 4 * channels values"""
    most_side: int | None
    """tokens that a side of the grid may have; None where the model has positions for any"""

    def bind(
        self, places: Places, texts: Sequence[Encoded], guidance: float | None
    ) -> Callable[[torch.Tensor, float], torch.Tensor]:
        """A function from latents [n, 4C] float32 and sigma to the velocity noise - clean, [n, 4C] float32.

        `texts` is the prompt, or with classifier-free guidance the negative prompt and the prompt. The function
        enqueues work on the model's device and does not wait for it.
        """
        ...

    def to_decoder(self, tokens: torch.Tensor, vae: nn.Module) -> torch.Tensor:
        """Tokens [n, 4C] as the decoder wants their values, float32."""
        ...

    def shift(self, scheduler: Mapping[str, Any], steps: int, most_tokens: int) -> list[dict[str, float]]:
        """The model's own shift at rising token counts, exact for plain runs of `steps`; log(shift) is linear between
        them. Raises ValueError for a schedule that no shift describes."""
        ...


def guide(velocities: torch.Tensor, guidance: float | None) -> torch.Tensor:
    """The velocity [n, 4C] float32 of a batch [1 or 2, n, 4C].

    A batch of two is classifier-free guidance: negative prompt, prompt. Law: at guidance 1 it is the prompt's velocity.
    """
    velocities = velocities.float()
    if len(velocities) == 1:
        return velocities[0]
    negative, positive = velocities
    return negative + guidance * (positive - negative)
