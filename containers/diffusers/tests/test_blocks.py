"""Forecast features of blocks: which layers really ran, and what became of those that did not."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager

import pytest
import torch
from jobs import denoise, difference, full_grid, make_job, mixed_grid
from torch import nn

from ralu_stage.engine.blocks import BlockForecast
from ralu_stage.model import Stopped

SIGMAS = [1.0, 0.9, 0.8, 0.65, 0.5, 0.3, 0.1]
CACHE = {"kind": "taylor_blocks", "interval": 2, "order": 2, "warmup": 2}
EVALUATED = [1, 2, 4, 6]
FAMILIES = ["flux-dev", "sd3", "sd3.5", "klein", "klein-base"]


def job(model, cache=CACHE, rows=8, cols=8, **options):
    return make_job(model, places=full_grid(rows, cols), sigmas=SIGMAS, width=128, height=128, cache=cache, **options)


def inner_layers(transformer):
    """Linear layers of attention and feed-forward networks, by their paths."""
    return {
        path: layer
        for path, layer in transformer.named_modules()
        if isinstance(layer, nn.Linear) and "transformer_blocks" in path and ".inner" in path
    }


@contextmanager
def counting(layers):
    """How often each layer ran."""
    runs = Counter(dict.fromkeys(layers, 0))
    handles = [layer.register_forward_hook(lambda *_, path=path: runs.update([path])) for path, layer in layers.items()]
    try:
        yield runs
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("name", FAMILIES)
def test_in_a_forecast_step_no_layer_of_attention_or_feed_forward_runs(tiny_model, name):
    model = tiny_model(name)
    layers = inner_layers(model.adapter.transformer)
    # all linear layers of the blocks but those that make gates and norms from the noise level
    others = [
        path
        for path, layer in model.adapter.transformer.named_modules()
        if isinstance(layer, nn.Linear) and "transformer_blocks" in path and path not in layers
    ]
    assert all(".norm" in path for path in others)
    with counting(layers) as runs:
        done = denoise(model, job(model))
    assert done.evaluations == len(EVALUATED)
    expected = len(EVALUATED)
    # SD3's last block reads its text's queries, keys and values, but writes no text
    unused = {path for path in layers if runs[path] == 0}
    assert all("to_add_out" in path for path in unused)
    assert {runs[path] for path in layers if path not in unused} == {expected}


@pytest.mark.parametrize("name", FAMILIES)
def test_gates_and_the_output_layer_run_in_each_step(tiny_model, name):
    model = tiny_model(name)
    transformer = model.adapter.transformer
    with counting({"proj_out": transformer.proj_out, "norm_out": transformer.norm_out.linear}) as runs:
        denoise(model, job(model))
    assert runs == {"proj_out": 6, "norm_out": 6}


@pytest.mark.parametrize("name", FAMILIES)
def test_recording_changes_nothing_where_all_steps_are_evaluated(tiny_model, name):
    model = tiny_model(name)
    every = denoise(model, job(model, {**CACHE, "warmup": 6}))
    assert torch.equal(every.latents, denoise(model, job(model, None)).latents)
    assert every.evaluations == 6


@pytest.mark.parametrize("name", FAMILIES)
def test_a_line_through_two_features_is_nearer_than_the_last_one(tiny_model, name):
    model = tiny_model(name)
    close = [1.0, 0.99996, 0.99992, 0.99988]

    def last_step(cache):
        job = make_job(model, places=full_grid(8, 8), sigmas=close, width=128, height=128, cache=cache)
        return denoise(model, job).clean

    exact = last_step(None)
    held, line = (difference(last_step({**CACHE, "interval": 9, "order": order}), exact) for order in (0, 1))
    assert 0 < line < held / 2


def test_the_features_are_forecast_by_differences_and_gated_by_the_current_noise_level(tiny_model):
    """By hand: the features of steps 1 and 2, their line on to step 3, and the rest of the model around it."""
    model = tiny_model("flux-dev")
    transformer = model.adapter.transformer
    part = transformer.single_transformer_blocks[-1].proj_out
    features, inputs = [], []
    handles = [
        part.inner.register_forward_hook(lambda *args: features.append(args[-1])),
        transformer.norm_out.register_forward_pre_hook(lambda _m, args: inputs.append(args)),
        transformer.single_transformer_blocks[-1].norm.register_forward_hook(lambda *a: inputs.append((a[1], a[2]))),
    ]
    try:
        denoise(
            model,
            make_job(
                model, places=full_grid(8, 8), sigmas=SIGMAS[:4], width=128, height=128,
                cache={**CACHE, "order": 1, "interval": 9},
            ),
        )  # fmt: skip
    finally:
        for handle in handles:
            handle.remove()
    assert len(features) == 2
    ((hidden,), (_, gate)), (after, _) = inputs[-2], inputs[-1]
    line = features[1] + (features[1] - features[0])
    want = hidden + gate.unsqueeze(1) * line
    assert difference(after, want[:, -64:]) <= 1e-5


@pytest.mark.parametrize("name", FAMILIES)
def test_the_cache_is_empty_at_each_stage_whatever_its_token_count(tiny_model, name):
    model = tiny_model(name)
    want = denoise(model, job(model))
    places, scale = mixed_grid(4, 4, [2, 3])
    mixed = make_job(model, places=places, scale=scale, sigmas=SIGMAS, width=128, height=128, cache=CACHE)
    first = denoise(model, mixed)
    assert all(part.differences == [] and part.output is None for part in model.blocks.parts)
    assert torch.equal(denoise(model, job(model)).latents, want.latents)
    assert torch.equal(denoise(model, mixed).latents, first.latents)


def test_a_stage_that_ends_early_leaves_no_features_and_no_mode(tiny_model):
    model = tiny_model("flux-dev")
    want = denoise(model, job(model))
    reports = []
    with pytest.raises(Stopped):
        model.denoise(job(model), lambda step, *_: reports.append(step), lambda: len(reports) == 3)
    assert reports == [1, 2, 3]
    assert all(part.differences == [] for part in model.blocks.parts) and model.blocks.state.mode == "off"
    assert torch.equal(denoise(model, job(model)).latents, want.latents)


def test_velocity_and_blocks_evaluate_the_same_steps_and_differ(tiny_model):
    model = tiny_model("flux-dev")
    blocks = denoise(model, job(model))
    velocity = denoise(model, job(model, {**CACHE, "kind": "taylor_velocity"}))
    assert blocks.evaluations == velocity.evaluations == 4
    assert difference(blocks.latents, velocity.latents) > 1e-4


def test_a_transformer_without_known_blocks_is_refused():
    with pytest.raises(ValueError, match="Linear has no blocks of FluxTransformerBlock"):
        BlockForecast(nn.Linear(2, 2))
