"""Stable Diffusion 3 and 3.5: every SD3Transformer2DModel."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy
import torch
from diffusers import SD3Transformer2DModel
from diffusers.models.embeddings import PatchEmbed
from torch import nn

from ralu_stage.adapters.adapter import Places, guide
from ralu_stage.adapters.shift import shift_by_tokens
from ralu_stage.text.encoded import Encoded

TABLE_TOLERANCE = 0.02
"""Most that an entry of the weights' table may differ from a sine: it may be stored in bfloat16."""
MOST_TURNS = 8
"""Whole turns that entry 0 may be away from length 0."""


class SD3:
    """Tokens are the model's patches, stacked as one column; a table of positions that takes any place stands in for
    the model's own. Time is 1000 sigma. With classifier-free guidance both texts are one batch of two.

    Raises ValueError where the weights' table of positions is no sine.
    """

    def __init__(self, transformer: SD3Transformer2DModel) -> None:
        self.transformer = transformer
        self.channels = transformer.config.in_channels
        self.embed = transformer.pos_embed = TokenEmbed(transformer.pos_embed)
        self.most_side = self.embed.side

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
    entry is a sine of a length, which is linear in the entry's index; here the sine is computed where a token stands,
    also between two entries. By the configuration the whole side is `base_size` long. Weights whose table is of other
    lengths are read as such. Raises ValueError where their table is no such sine.
    """

    def __init__(self, embed: PatchEmbed) -> None:
        super().__init__()
        self.proj = embed.proj
        self.side, self.width = embed.pos_embed_max_size, embed.proj.out_channels
        self.per_length, self.offset = self.side / embed.base_size, 0.0
        """entries a unit of length; length of entry 0"""
        self.at: torch.Tensor | None = None
        """[n, width] float32: positions of the tokens to come"""
        table = embed.pos_embed[0].float().cpu().unflatten(0, (self.side, self.side))
        if self.error(table) > TABLE_TOLERANCE:
            self.fit(table)
        if not self.error(table) <= TABLE_TOLERANCE:
            raise ValueError(f"the table of positions differs from a sine by {self.error(table):.3g}, expected 0.02")

    def error(self, table: torch.Tensor) -> float:
        """Largest difference of a table [side, side, width] from the sine, on its edges and its diagonal."""
        line = torch.arange(self.side)
        zero, end = torch.zeros_like(line), torch.full_like(line, self.side - 1)
        entries = torch.cat([torch.stack(pair, 1) for pair in ((line, zero), (zero, line), (line, line), (end, line))])
        return (table[entries[:, 0], entries[:, 1]] - self.sines(entries.float())).abs().max().item()

    def fit(self, table: torch.Tensor) -> None:
        """Takes lengths from a table [side, side, width] of sines.

        The fastest sine and cosine of a row of entries turn by one radian a unit of length: a line through their angles
        says the lengths but for whole turns, and the slower ones say those.
        """
        sines, cosines = table[0, :, 0].double(), table[0, :, self.width // 4].double()
        slope, start = numpy.polyfit(numpy.arange(self.side), numpy.unwrap(torch.atan2(sines, cosines).numpy()), 1)
        self.per_length = 1 / slope if slope else math.inf
        errors = {}
        for turns in range(-MOST_TURNS, MOST_TURNS + 1):
            self.offset = float(start) + turns * math.tau
            errors[self.offset] = self.error(table)
        self.offset = min(errors, key=errors.__getitem__)

    def sines(self, entries: torch.Tensor) -> torch.Tensor:
        """The table at entries [n, 2] of it, (row, column) from 0 to side - 1, any number: [n, width] float32.

        The first half of the width is for the column, the second for the row; each half is sines, then cosines.
        """
        quarter = self.width // 4
        rates = 10000.0 ** -(torch.arange(quarter, dtype=torch.float64, device=entries.device) / quarter)
        lengths = entries / self.per_length + self.offset
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
