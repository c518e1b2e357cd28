"""What a card needs for a model, on paper: from parameter counts and what a step holds. No weight is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from ralu_stage.engine.blocks import PARTS
from ralu_stage.facts import default_guidance
from ralu_stage.quantize import is_quantized
from ralu_stage.source import LoadError, Source

CONTEXT_BYTES = 2**30
"""CUDA's own: context, kernels, work space of libraries, and what the allocator cannot use."""

TEXT_TOKENS = 512


@dataclass(frozen=True)
class Memory:
    """Bytes on the card."""

    weights: Mapping[str, int]
    """of each component that is on it"""
    step: int
    """what one step of the largest picture holds at its peak"""
    decode: int
    """what decoding that picture holds at its peak; it may run beside a step"""
    features: int
    """what a cache of block features holds beside that, with differences up to order 2; not in the total"""

    @property
    def total(self) -> int:
        return sum(self.weights.values()) + self.step + self.decode + CONTEXT_BYTES

    def sentence(self) -> str:
        """For the operator at the start."""
        parts = ", ".join(f"{name} {show(size)}" for name, size in self.weights.items())
        return (
            f"on paper the card needs {show(self.total)}: {parts}, a step {show(self.step)}, "
            f"decoding {show(self.decode)}, CUDA {show(CONTEXT_BYTES)}; "
            f"for a preset with taylor_blocks {show(self.features)} more"
        )


def show(size: int) -> str:
    return f"{size / 1e9:.1f} GB"


def on_paper(source: Source, *, value_bytes: int, quantize: str, offload: str, pixels: int) -> Memory:
    """The memory of a card for pictures of so many pixels, with values of so many bytes (2: bfloat16).

    A step's peak is a block's: about 16 widths a token, image and text. The decoder's is its last level, whose three
    tensors of twice its width have a value for each pixel.
    """
    on_card = [name for name in source.models if offload != "text" or not name.startswith("text_encoder")]
    modules = {name: skeleton(source, name) for name in on_card}
    weights = {}
    for name, module in modules.items():
        small = 0
        if name == "transformer" and quantize != "none":
            small = sum(layer.weight.numel() for path, layer in module.named_modules() if is_quantized(layer, path))
        weights[name] = value_bytes * (count(module) - small) + small
    transformer, vae = source.configs["transformer"], source.configs["vae"]
    width = transformer["num_attention_heads"] * transformer["attention_head_dim"]
    token_pixels = 2 * 2 ** (len(vae["block_out_channels"]) - 1)
    guidance = default_guidance(source, None)
    passes = 2 if guidance is not None and guidance["kind"] == "cfg" else 1
    tokens = pixels // token_pixels**2
    return Memory(
        weights,
        step=16 * width * value_bytes * passes * (tokens + TEXT_TOKENS),
        decode=3 * 2 * vae["block_out_channels"][0] * value_bytes * pixels,
        # three differences, and the features of the step that is to join them
        features=4 * width * value_bytes * passes * feature_tokens(modules["transformer"], tokens, TEXT_TOKENS),
    )


def feature_tokens(transformer: nn.Module, image: int, text: int) -> int:
    """Vectors of the model's width that all parts of the blocks give in one pass, with so many tokens."""
    tokens_of = {"ff": image, "attn2": image, "ff_context": text}
    return sum(
        tokens_of.get(name, image + text)
        for block in transformer.modules()
        for name in PARTS.get(type(block).__name__, ((), ()))[0]
        if getattr(block, name, None) is not None
    )


def count(module: nn.Module) -> int:
    """Parameters, each once where two names share one."""
    return sum(parameter.numel() for parameter in module.parameters())


def skeleton(source: Source, name: str) -> nn.Module:
    """A component without values: its shapes, from its configuration. Raises LoadError where that makes none."""
    found, config = source.component_class(name), dict(source.configs[name])
    try:
        with torch.device("meta"):
            is_diffusers = source.components[name][0] == "diffusers"
            return found.from_config(config) if is_diffusers else found(found.config_class(**config))
    except (TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise LoadError(f"{name}/config.json makes no {found.__name__}: {type(error).__name__}") from error
