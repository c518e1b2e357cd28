"""Stable Diffusion 3 and 3.5: every SD3Transformer2DModel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from diffusers import SD3Transformer2DModel
from diffusers.models.embeddings import PatchEmbed
from torch import nn

from ralu_stage.adapters.adapter import Places, guide
from ralu_stage.adapters.shift import shift_by_tokens
from ralu_stage.text.encoded import Encoded

TABLE_TOLERANCE = 0.02
"""Most that an entry of the weights' table may differ from the sine: it may be stored in bfloat16."""


class SD3:
    """Tokens are the model's patches, stacked as one column; a table of positions that takes any place stands in for
    the model's own. Time is 1000 sigma. With classifier-free guidance both texts are one batch of two.

    Raises ValueError where the weights hold another table than the sine that their configuration describes.
    """

    def __init__(self, transformer: SD3Transformer2DModel) -> None:
        self.transformer = transformer
        self.channels = transformer.config.in_channels
        self.embed = transformer.pos_embed = TokenEmbed(transformer.pos_embed)

    def bind(
        self, places: Places, texts: Sequence[Encoded], guidance: float | None
    ) -> Callable[[torch.Tensor, float], torch.Tensor]:
        model, batch = self.transformer, len(texts)
        positions = self.embed.positions(places)
        states, pooled = torch.cat([text.states for text in texts]), torch.cat([text.pooled for text in texts])

        def velocity(x: torch.Tensor, sigma: float) -> torch.Tensor:
            self.embed.at = positions
            column = as_column(x).to(model.dtype)
            (patches,) = model(
                hidden_states=column.expand(batch, -1, -1, -1),
                encoder_hidden_states=states,
                pooled_projections=pooled,
                timestep=x.new_full((batch,), sigma * 1000),
                return_dict=False,
            )
            return guide(from_column(patches), guidance)

        return velocity

    def to_decoder(self, tokens: torch.Tensor, vae: nn.Module) -> torch.Tensor:
        return tokens / vae.config.scaling_factor + vae.config.shift_factor

    def shift(self, scheduler: Mapping[str, Any], steps: int, most_tokens: int) -> list[dict[str, float]]:
        return shift_by_tokens(scheduler)


def as_column(tokens: torch.Tensor) -> torch.Tensor:
    """Tokens [n, (c i j)] as latents [1, c, 2n, 2] whose patches they are."""
    return tokens.unflatten(1, (-1, 2, 2)).permute(1, 0, 2, 3).flatten(1, 2)[None]


def from_column(latents: torch.Tensor) -> torch.Tensor:
    """Latents [b, c, 2n, 2] as tokens [b, n, (c i j)]: the inverse of as_column."""
    return latents.unflatten(2, (-1, 2)).permute(0, 2, 1, 3, 4).flatten(2)


class TokenEmbed(nn.Module):
    """SD3's patch embedding with a position for each patch, whatever grid it is of.

    The model's table has a side of `pos_embed_max_size` entries, and its middle is cropped to the size of a grid. An
    entry is a sine of its index, scaled so that the side is `base_size` long; here the sine is computed where a token
    stands, also between two entries.
    """

    def __init__(self, embed: PatchEmbed) -> None:
        super().__init__()
        self.proj = embed.proj
        self.side, self.base_size = embed.pos_embed_max_size, embed.base_size
        self.width = embed.proj.out_channels
        self.at: torch.Tensor | None = None
        """[n, width] float32: positions of the tokens to come"""
        if not embed.pos_embed.is_meta:
            corners = torch.tensor([[0, 0], [0, self.side - 1], [self.side - 1, 0], [self.side // 2, self.side // 3]])
            stored = embed.pos_embed[0, corners[:, 0] * self.side + corners[:, 1]].float().cpu()
            off = (stored - self.sines(corners.float())).abs().max().item()
            if not off <= TABLE_TOLERANCE:
                raise ValueError(f"the table of positions differs from its sine by {off:.3g}, expected at most 0.02")

    def sines(self, entries: torch.Tensor) -> torch.Tensor:
        """The table at entries [n, 2] of it, (row, column) from 0 to side - 1, any number: [n, width] float32.

        The first half of the width is for the column, the second for the row; each half is sines, then cosines.
        """
        quarter = self.width // 4
        rates = 10000.0 ** -(torch.arange(quarter, dtype=torch.float64, device=entries.device) / quarter)
        lengths = entries / (self.side / self.base_size)
        angles = lengths.flip(1).double()[:, :, None] * rates  # [n, (column, row), quarter]
        return torch.cat([angles.sin(), angles.cos()], dim=2).flatten(1).float()

    def positions(self, places: Places) -> torch.Tensor:
        """[n, width] float32 for the places of a stage. Raises ValueError where the grid is larger than the table."""
        if max(places.rows, places.cols) > self.side:
            raise ValueError(f"the grid is {places.rows} x {places.cols}, expected at most {self.side} a side")
        corner = [(self.side - places.rows) // 2, (self.side - places.cols) // 2]
        return self.sines(places.ids[:, 1:] + places.ids.new_tensor(corner))

    def forward(self, latents: torch.Tensor) -> torch.Tensor:
        patches = self.proj(latents).flatten(2).transpose(1, 2)
        return (patches + self.at).to(latents.dtype)
