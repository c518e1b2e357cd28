"""Compiled blocks: the same numbers, few graphs, and forecasts that work with them."""

from __future__ import annotations

import numpy
import pytest
import tiny
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


@pytest.fixture(scope="module")
def models(tiny_folder, tmp_path_factory):
    """FLUX.1 with compiled blocks, the same without, and the graphs that were made: for 16 tokens, and for others."""
    folder = tmp_path_factory.mktemp("compiled")
    tiny.flux(guidance=False, blocks=1).save_pretrained(folder)
    settings = LoadSettings(device="cpu", facts=tiny_folder("flux-schnell") / "ralu.json")
    model, plain = (load_model(str(folder), settings) for _ in range(2))
    torch._dynamo.reset()
    graphs = Graphs()
    model.compiled = Compiled(model.adapter.transformer, [16], backend=graphs)
    yield model, plain, graphs
    torch._dynamo.reset()


def low_stage(model, cache=None):
    options = {"width": 128, "height": 128, "sigmas": SIGMAS, "cache": cache}
    return make_job(model, places=full_grid(4, 4), scale=numpy.full(16, 2, numpy.uint8), **options)


def test_static_counts_are_those_of_a_presets_stages():
    assert static_counts(64, 64, [0.1, 0.2, 0.3]) == [1024, 1330, 1636, 1945, 4096]
    assert static_counts(53, 30, [0.1]) == [53 * 30]


def test_a_token_count_of_a_preset_gets_graphs_of_its_own(models):
    model, plain, graphs = models
    got = denoise(model, low_stage(model))
    assert difference(got.latents, denoise(plain, low_stage(plain)).latents) <= 1e-5
    assert 2 <= len(graphs.made) <= 4 and set(graphs.made) == {"static"}
    made = len(graphs.made)
    denoise(model, low_stage(model))
    assert len(graphs.made) == made


def test_forecast_features_are_those_of_the_uncompiled_model(models):
    model, plain, graphs = models
    for _ in range(2):
        got, want = denoise(model, low_stage(model, CACHE)), denoise(plain, low_stage(plain, CACHE))
        assert got.evaluations == want.evaluations == 3
        assert difference(got.latents, want.latents) <= 1e-5
        # recording makes graphs of its own, forecasting none
        assert len(graphs.made) <= 8
    assert difference(denoise(model, low_stage(model)).latents, want.latents) > 1e-5


def test_all_other_token_counts_share_graphs_which_are_made_at_the_start(models):
    model, plain, graphs = models
    model.warm_up(records=True)
    made = len(graphs.made)
    assert "dynamic" in graphs.made and made <= 14
    places, scale = mixed_grid(4, 4, [1, 5, 9])
    options = {"width": 128, "height": 128, "sigmas": SIGMAS}
    jobs = [
        make_job(model, places=places, scale=scale, **options),
        make_job(model, places=full_grid(8, 8), **options),
        make_job(model, places=full_grid(8, 8), cache=CACHE, **options),
        make_job(model, places=full_grid(5, 4), sigmas=SIGMAS, width=64, height=80),
    ]
    for job in jobs:
        assert difference(denoise(model, job).latents, denoise(plain, job).latents) <= 1e-5
    assert len(graphs.made) == made
