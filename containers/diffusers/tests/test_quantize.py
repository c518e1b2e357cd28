"""Weights of one byte: which layers have them, and that the model stays near."""

from __future__ import annotations

import pytest
import tiny
import torch
from jobs import denoise, difference, full_grid, make_job
from torch import nn

from ralu_stage.load import LoadError, LoadSettings, load_model
from ralu_stage.quantize import is_quantized, quantize

CPU = torch.device("cpu")


def test_int8_weights_are_near_and_of_another_class(tiny_folder, tiny_model):
    name = "flux-dev"
    small = load_model(str(tiny_folder(name)), LoadSettings(device="cpu", quantize="int8"))
    assert " int8 torchao/" in small.engine_class
    job = make_job(small, places=full_grid(8, 8), sigmas=[1, 0.9], width=128, height=128)
    assert 0 < difference(denoise(small, job).latents, denoise(tiny_model(name), job).latents) < 0.1


@pytest.mark.parametrize("name", ["flux-dev", "sd3", "klein"])
def test_every_linear_layer_of_the_blocks_is_quantized_and_no_other(name):
    transformer = tiny.MAKERS[name]().transformer
    layers = {path: layer for path, layer in transformer.named_modules() if isinstance(layer, nn.Linear)}
    expected = {path for path, layer in layers.items() if is_quantized(layer, path)}
    quantize(transformer, "int8", CPU)
    changed = {path for path, layer in layers.items() if type(layer.weight.data) is not torch.Tensor}
    assert changed == expected and 0 < len(expected) < len(layers)


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="quantize is int4; expected one of none, fp8, int8"):
        quantize(nn.Linear(2, 2), "int4", CPU)


@pytest.mark.parametrize(
    ("dtype", "says"),
    [
        ("bf16", "quantize is fp8, which needs a card of compute capability 8.9 or later"),
        ("fp16", "quantize is fp8, which needs dtype bf16, not float16"),
        ("fp32", "quantize is fp8, which needs dtype bf16, not float32"),
    ],
)
def test_fp8_needs_bfloat16_and_a_card_that_has_it(tiny_folder, dtype, says):
    with pytest.raises(LoadError) as refused:
        load_model(str(tiny_folder("flux-dev")), LoadSettings(device="cpu", dtype=dtype, quantize="fp8"))
    assert str(refused.value) == says
