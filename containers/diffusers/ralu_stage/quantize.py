"""Weights of one byte, by torchao: the linear layers of a transformer's blocks. The rest stays as it is."""

from __future__ import annotations

import torch
from torch import nn

from ralu_stage.engine.blocks import PARTS

KINDS = ("none", "fp8", "int8")


def is_quantized(layer: nn.Module, path: str) -> bool:
    """Whether a layer, by its path in the transformer, is one of those: all that blocks have, their modulation too."""
    return isinstance(layer, nn.Linear) and path.split(".")[0] in ("transformer_blocks", "single_transformer_blocks")


def quantize(transformer: nn.Module, kind: str, device: torch.device) -> None:
    """Quantizes in place, block by block on the device, so that the whole never has to fit there unquantized.

    fp8: weights and activations of the layers that many tokens pass, one scale a row; needs a card of compute
    capability 8.9 or later. int8: weights alone, which saves memory rather than time. Modulation reads one vector a
    step, so of its layers only the weights are quantized. Raises ValueError for another kind, and for fp8 of other
    values than bfloat16 or on another device.
    """
    dtype = next(transformer.parameters()).dtype
    if kind == "fp8" and dtype != torch.bfloat16:
        raise ValueError(f"quantize is fp8, which needs dtype bf16, not {str(dtype).removeprefix('torch.')}")
    if kind == "fp8" and not (device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 9)):
        raise ValueError("quantize is fp8, which needs a card of compute capability 8.9 or later")
    from torchao.quantization import (
        Float8DynamicActivationFloat8WeightConfig,
        Float8WeightOnlyConfig,
        Int8WeightOnlyConfig,
        PerRow,
        quantize_,
    )

    if kind == "fp8":
        wide, narrow = Float8DynamicActivationFloat8WeightConfig(granularity=PerRow()), Float8WeightOnlyConfig()
    elif kind == "int8":
        wide = narrow = Int8WeightOnlyConfig()
    else:
        raise ValueError(f"quantize is {kind}; expected one of {', '.join(KINDS)}")
    for block in (module for module in transformer.modules() if type(module).__name__ in PARTS):
        block.to(device)
        quantize_(block, wide, lambda layer, path: isinstance(layer, nn.Linear) and not path.startswith("norm"))
        quantize_(block, narrow, lambda layer, path: isinstance(layer, nn.Linear) and path.startswith("norm"))
