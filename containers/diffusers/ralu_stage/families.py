"""The families of models that can be served, each by the class of its pipeline in diffusers' format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DiffusionPipeline

from ralu_stage.adapters.adapter import Adapter
from ralu_stage.adapters.flux import Flux
from ralu_stage.adapters.flux2 import Flux2
from ralu_stage.adapters.sd3 import SD3
from ralu_stage.flops import StepWork, flux2_work, flux_work, sd3_work
from ralu_stage.text.encoded import TextEncoder
from ralu_stage.text.encoders import FluxText, KleinText, SD3Text

Config = Mapping[str, Any]
"""A component's configuration, as its JSON file has it."""


@dataclass(frozen=True)
class Family:
    name: str
    transformer: str
    """class of the component `transformer`, and of `vae`"""
    vae: str
    adapter: Callable[[Any], Adapter]
    text: Callable[[DiffusionPipeline, torch.device], TextEncoder]
    work: Callable[[Config, int, bool], StepWork]
    """work of one pass of a step, from the transformer's configuration, text tokens and whether guidance is embedded"""
    encoders: tuple[str, ...]
    """text components without which it cannot be served; others may be left out"""
    upsampling: tuple[str, ...]
    scripts: tuple[str, ...] | None
    pixels: tuple[int, int]
    """fewest and most of a picture"""


FAMILIES: dict[str, Family] = {
    "FluxPipeline": Family(
        name="flux.1",
        transformer="FluxTransformer2DModel",
        vae="AutoencoderKL",
        adapter=Flux,
        text=FluxText,
        work=flux_work,
        encoders=("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
        upsampling=("latent", "token"),
        scripts=("Latin",),
        pixels=(256 * 256, 1536 * 1536),
    ),
    "StableDiffusion3Pipeline": Family(
        name="sd3",
        transformer="SD3Transformer2DModel",
        vae="AutoencoderKL",
        adapter=SD3,
        text=SD3Text,
        work=sd3_work,
        encoders=("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"),
        upsampling=("latent", "token"),
        scripts=("Latin",),
        pixels=(512 * 512, 1440 * 1440),
    ),
    "Flux2KleinPipeline": Family(
        name="flux.2",
        transformer="Flux2Transformer2DModel",
        vae="AutoencoderKLFlux2",
        adapter=Flux2,
        text=KleinText,
        work=flux2_work,
        encoders=("text_encoder", "tokenizer"),
        # latents are normalised for each packed slot: see Flux2
        upsampling=("token",),
        scripts=None,
        pixels=(256 * 256, 2048 * 2048),
    ),
}
