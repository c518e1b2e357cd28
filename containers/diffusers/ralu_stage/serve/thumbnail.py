"""A small, rough picture of a stage on its way, through its model's linear colours. It reads what the steps have made
and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy
import torch

from ralu_stage.contract.cover import cover_fault
from ralu_stage.contract.request import StageJob, cover_of
from ralu_stage.picture.colours import Colours, paint
from ralu_stage.picture.encode import SmallFile, encode_small
from ralu_stage.picture.whole_grid import whole_grid

FORMAT = "webp"
_PAINTED_SIDE = 64
"""pixels that are painted where the map has them"""
_LONGEST_SIDE = 96
_MAX_BYTES = 4096
_QUALITY = 60


@dataclass(frozen=True)
class Thumbnail:
    """A picture of the clean estimate after `step`."""

    step: int
    file: SmallFile


def make_thumbnail(
    job: StageJob, token_pixels: int, colours: Colours, step: int, look: Callable[[], torch.Tensor]
) -> Thumbnail | None:
    """The picture of what `look` gives, the clean estimate [n, 4C]; None where the tokens cover no grid, as those of a
    stage that decodes nothing need not. Of a mixed grid it shows what its decoded picture would."""
    cover = cover_of(job.options, job.img_ids, job.scale, token_pixels)
    if cover_fault(job.img_ids, job.scale, cover) is not None:
        return None
    rows, cols = cover.rows // cover.unit, cover.cols // cover.unit
    clean = look().to("cpu", torch.float32).numpy()
    whole = clean[whole_grid(job.img_ids, job.scale, rows, cols)]
    # a stage whose latents are no numbers any more says so itself
    picture = paint(colours, numpy.nan_to_num(whole), rows, cols, _PAINTED_SIDE)
    return Thumbnail(step, encode_small(picture, FORMAT, _LONGEST_SIDE, _QUALITY, _MAX_BYTES))
