"""FLUX.2 klein: every Flux2Transformer2DModel that reads no guidance number."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from diffusers import Flux2Transformer2DModel
from diffusers.pipelines.flux2.pipeline_flux2_klein import compute_empirical_mu
from torch import nn

from ralu_stage.adapters.adapter import Places, guide
from ralu_stage.adapters.shift import check_schedule
from ralu_stage.text.encoded import Encoded

LINE_ENDS = 4300
"""Where the model's rule for the shift goes over to another line, image tokens."""


class Flux2:
    """Tokens have 128 values. Places have four axes: (0, row, column, 0) of an image, (0, 0, 0, k) of the k-th text
    token. Time is sigma. Distilled models take no guidance; the others classifier-free, both texts one batch of two.

    Latents are normalised for each packed slot, so the four slots of a channel mean different values. Upsampling
    therefore repeats whole tokens: mode `token`.
    """

    def __init__(self, transformer: Flux2Transformer2DModel) -> None:
        self.transformer = transformer
        self.channels = transformer.config.in_channels // 4
        self.most_side = None

    def bind(
        self, places: Places, texts: Sequence[Encoded], guidance: float | None
    ) -> Callable[[torch.Tensor, float], torch.Tensor]:
        model, batch = self.transformer, len(texts)
        states = torch.cat([text.states for text in texts])
        img_ids = nn.functional.pad(places.ids, (0, 1))
        txt_ids = img_ids.new_zeros(states.shape[1], 4)
        txt_ids[:, 3] = torch.arange(states.shape[1])

        def velocity(x: torch.Tensor, sigma: float) -> torch.Tensor:
            (velocities,) = model(
                hidden_states=x.to(model.dtype).expand(batch, -1, -1),
                encoder_hidden_states=states,
                timestep=x.new_full((batch,), sigma),
                img_ids=img_ids,
                txt_ids=txt_ids,
                return_dict=False,
            )
            return guide(velocities, guidance)

        return velocity

    def to_decoder(self, tokens: torch.Tensor, vae: nn.Module) -> torch.Tensor:
        spread = torch.sqrt(vae.bn.running_var.float() + vae.config.batch_norm_eps)
        return tokens * spread + vae.bn.running_mean.float()

    def shift(self, scheduler: Mapping[str, Any], steps: int, most_tokens: int) -> list[dict[str, float]]:
        check_schedule(scheduler)
        tokens = [1, LINE_ENDS, LINE_ENDS + 1, max(most_tokens, LINE_ENDS + 2)]
        return [{"tokens": n, "shift": math.exp(compute_empirical_mu(n, steps))} for n in tokens]
