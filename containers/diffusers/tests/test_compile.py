"""Compiled blocks: the same numbers, few graphs, and forecasts that work with them."""

from __future__ import annotations

import pytest
import torch
from jobs import denoise, difference, full_grid, make_job, mixed_grid

from ralu_stage.engine.compile import Compiled, static_counts
from ralu_stage.load import LoadSettings, load_model

SIGMAS = [1.0, 0.9, 0.8, 0.65, 0.5]
CACHE = {"kind": "taylor_blocks", "interval": 2, "order": 1, "warmup": 2}


class Graphs:
    """A backend that runs graphs as they are, and counts them by the sizes that they are made for."""

    def __init__(self):
        self.made = []

    def __call__(self, graph, inputs):
        symbols = [value for value in inputs if isinstance(value, torch.SymInt)]
        self.made.append("dynamic" if symbols else "static")
        return graph.forward


@pytest.fixture(params=["flux-dev", "sd3", "klein"])
def models(request, tiny_folder, tiny_model):
    """A tiny model with compiled blocks, the same without, and the graphs that were made."""
    torch._dynamo.reset()
    graphs = Graphs()
    model = load_model(str(tiny_folder(request.param)), LoadSettings(device="cpu"))
    model.compiled = Compiled(model.adapter.transformer, static_counts(8, 8, [0.2]), backend=graphs)
    yield model, tiny_model(request.param), graphs
    torch._dynamo.reset()


def stages(model, cache=None):
    """A job's three stages, and one of a size of its own."""
    low, (mixed, scale), full = full_grid(4, 4), mixed_grid(4, 4, [1, 5, 9]), full_grid(8, 8)
    options = {"sigmas": SIGMAS, "width": 128, "height": 128, "cache": cache}
    yield make_job(model, places=low, scale=low[:, 0].astype("uint8") + 2, **options)
    yield make_job(model, places=mixed, scale=scale, **options)
    yield make_job(model, places=full, **options)
    yield make_job(model, places=full_grid(4, 8), sigmas=SIGMAS, width=128, height=64, cache=cache)


def test_static_counts_are_those_of_a_presets_stages():
    assert static_counts(64, 64, [0.1, 0.2, 0.3]) == [1024, 1330, 1636, 1945, 4096]
    assert static_counts(53, 30, [0.1]) == [53 * 30]


def test_compiled_blocks_compute_the_same_with_a_graph_for_each_count_of_a_preset(models):
    model, plain, graphs = models
    assert model.compiled.static_counts == {16, 25, 64}
    for job in stages(model):
        assert difference(denoise(model, job).latents, denoise(plain, job).latents) <= 1e-5
    classes = len({type(block) for block in model.compiled.blocks})
    assert "dynamic" in graphs.made and "static" in graphs.made
    made = len(graphs.made)
    # SD3's last block writes no text, so it is a graph of its own
    assert made <= 4 * (classes + 1)
    for job in [*stages(model), make_job(model, places=full_grid(2, 8), sigmas=SIGMAS, width=128, height=32)]:
        denoise(model, job)
    assert len(graphs.made) == made


def test_forecast_features_are_those_of_the_uncompiled_model(models):
    model, plain, graphs = models
    for job in stages(model, CACHE):
        got, want = denoise(model, job), denoise(plain, job)
        assert got.evaluations == want.evaluations == 3
        assert difference(got.latents, want.latents) <= 1e-4
    made = len(graphs.made)
    for job in stages(model, CACHE):
        denoise(model, job)
    assert len(graphs.made) == made


def test_a_compiled_model_meets_its_counts_at_the_start(models):
    model, _, graphs = models
    model.warm_up()
    made = len(graphs.made)
    for job in stages(model):
        denoise(model, job)
    assert len(graphs.made) == made and made > 0
