"""FLUX.1: dev, schnell, and every other FluxTransformer2DModel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from diffusers import FluxTransformer2DModel
from torch import nn

from ralu_stage.adapters.adapter import Places, guide
from ralu_stage.adapters.shift import shift_by_tokens
from ralu_stage.text.encoded import Encoded


class Flux:
    """Tokens are FLUX's own packing. Places go in as they are: rotary positions take any number.

    Text stands at (0, 0, 0), and time is sigma. Guidance is a number that dev reads, and schnell does not.
    """

    def __init__(self, transformer: FluxTransformer2DModel) -> None:
        self.transformer = transformer
        self.channels = transformer.config.in_channels // 4
        self.most_side = None

    def bind(
        self, places: Places, texts: Sequence[Encoded], guidance: float | None
    ) -> Callable[[torch.Tensor, float], torch.Tensor]:
        (text,) = texts
        model, ids = self.transformer, places.ids
        txt_ids = ids.new_zeros(text.states.shape[1], 3)
        embedded = ids.new_full((1,), guidance) if model.config.guidance_embeds else None

        def velocity(x: torch.Tensor, sigma: float) -> torch.Tensor:
            (batch,) = model(
                hidden_states=x[None].to(model.dtype),
                encoder_hidden_states=text.states,
                pooled_projections=text.pooled,
                timestep=ids.new_full((1,), sigma),
                guidance=embedded,
                img_ids=ids,
                txt_ids=txt_ids,
                return_dict=False,
            )
            return guide(batch, None)

        return velocity

    def to_decoder(self, tokens: torch.Tensor, vae: nn.Module) -> torch.Tensor:
        return tokens / vae.config.scaling_factor + vae.config.shift_factor

    def shift(self, scheduler: Mapping[str, Any], steps: int, most_tokens: int) -> list[dict[str, float]]:
        return shift_by_tokens(scheduler)
