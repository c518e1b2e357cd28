"""What a card needs for a model, on paper: from parameter counts and what a step holds. No weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import diffusers
import torch
import transformers
from torch import nn

from ralu_stage.quantize import is_quantized
from ralu_stage.source import Source

CONTEXT_BYTES = 2**30
"""CUDA's own: context, kernels, work space of libraries, and what the allocator cannot use."""


@dataclass(frozen=True)
class Memory:
    """Bytes on the card."""

    weights: Mapping[str, int]
    """of each component that is on it"""
    step: int
    """what one step of the largest picture holds at its peak"""
    decode: int
    """what decoding that picture holds at its peak; it may run beside a step"""

    @property
    def total(self) -> int:
        return sum(self.weights.values()) + self.step + self.decode + CONTEXT_BYTES

    def sentence(self) -> str:
        """For the operator at the start."""
        parts = ", ".join(f"{name} {show(size)}" for name, size in self.weights.items())
        return (
            f"on paper the card needs {show(self.total)}: {parts}, a step {show(self.step)}, "
            f"decoding {show(self.decode)}, CUDA {show(CONTEXT_BYTES)}"
        )


def show(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def on_paper(source: Source, *, value_bytes: int, quantize: str, offload: str, pixels: int) -> Memory:
    """The memory of a card for pictures of so many pixels, with values of so many bytes (2: bfloat16).

    A step's peak is a block's: about 16 widths a token, image and text. The decoder's is its last level, whose three
    tensors of twice its width have a value for each pixel.
    """
    weights = {}
    for name in source.models:
        if offload == "text" and name.startswith("text_encoder"):
            continue
        module = skeleton(source, name)
        small = 0
        if name == "transformer" and quantize != "none":
            small = sum(layer.weight.numel() for path, layer in module.named_modules() if is_quantized(layer, path))
        weights[name] = value_bytes * (count(module) - small) + small
    transformer, vae = source.configs["transformer"], source.configs["vae"]
    width = transformer["num_attention_heads"] * transformer["attention_head_dim"]
    token_pixels = 2 * 2 ** (len(vae["block_out_channels"]) - 1)
    passes = 2 if source.family.name == "sd3" else 1
    step = 16 * width * value_bytes * passes * (pixels // token_pixels**2 + 512)
    return Memory(weights, step, decode=3 * 2 * vae["block_out_channels"][0] * value_bytes * pixels)


def count(module: nn.Module) -> int:
    """Parameters, each once where two names share one."""
    return sum(parameter.numel() for parameter in module.parameters())


def skeleton(source: Source, name: str) -> nn.Module:
    """A component without values: its shapes, from its configuration."""
    library, kind = source.components[name]
    config = dict(source.configs[name])
    with torch.device("meta"):
        if library == "diffusers":
            return getattr(diffusers, kind).from_config(config)
        cls = getattr(transformers, kind)
        return cls(cls.config_class(**config))
