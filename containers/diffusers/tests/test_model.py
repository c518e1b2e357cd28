"""The model as the server sees it: what fails in it, and that it goes on afterwards."""

from __future__ import annotations

import threading

import numpy
import pytest
import torch
from jobs import denoise, full_grid, make_job, noise

from ralu_stage.model import ModelFailed, NotFinite, Stopped

SIGMAS = [1.0, 0.7, 0.4, 0.0]


def job(model, **options):
    return make_job(model, places=full_grid(4, 4), sigmas=SIGMAS, width=64, height=64, **options)


@pytest.mark.parametrize("name", ["flux-dev", "sd3", "klein"])
def test_out_of_memory_is_a_failure_of_the_model_which_goes_on(tiny_model, name):
    model = tiny_model(name)
    want = denoise(model, job(model))
    hook = model.adapter.transformer.transformer_blocks[1].register_forward_pre_hook(
        lambda *_: torch.empty(2**58, dtype=torch.uint8)
    )
    try:
        with pytest.raises(ModelFailed, match="the model failed in steps") as failed:
            denoise(model, job(model))
    finally:
        hook.remove()
    assert failed.value.part == "steps" and "allocate" in str(failed.value.cause)
    assert torch.equal(denoise(model, job(model)).latents, want.latents)


def test_a_failure_holds_no_tensors_of_the_failed_call(tiny_model):
    model = tiny_model("flux-dev")
    hook = model.adapter.transformer.transformer_blocks[1].register_forward_pre_hook(
        lambda *_: torch.empty(2**58, dtype=torch.uint8)
    )
    try:
        with pytest.raises(ModelFailed) as failed:
            denoise(model, job(model))
    finally:
        hook.remove()
    trace = failed.value.cause.__traceback__
    frames = []
    while trace is not None:
        frames.append(trace.tb_frame)
        trace = trace.tb_next
    inner = [frame for frame in frames if frame.f_code.co_name == "velocity"]
    assert inner and all(not any(isinstance(v, torch.Tensor) for v in frame.f_locals.values()) for frame in inner)


def test_a_prompt_that_cannot_be_encoded_fails_in_text(tiny_model):
    model = tiny_model("flux-dev")
    hook = model.text.pipeline.text_encoder_2.register_forward_pre_hook(lambda *_: torch.empty(2**58))
    try:
        with pytest.raises(ModelFailed) as failed:
            denoise(model, job(model, prompt="a prompt of its own"))
    finally:
        hook.remove()
    assert failed.value.part == "text"
    assert denoise(model, job(model, prompt="a prompt of its own")).encode_text_ms > 0


def test_latents_of_another_grid_cannot_be_decoded(tiny_model):
    model = tiny_model("flux-dev")
    with pytest.raises(ModelFailed) as failed:
        model.decode(torch.zeros(15, 64), 4, 4)
    assert failed.value.part == "decoder"
    assert model.decode(torch.zeros(16, 64), 4, 4).shape == (64, 64, 3)


def test_stopped_and_not_finite_are_what_they_are(tiny_model):
    model = tiny_model("flux-dev")
    with pytest.raises(Stopped):
        model.denoise(job(model), lambda *_: None, lambda: True)
    with pytest.raises(NotFinite):
        denoise(model, job(model, latents=numpy.full((16, 64), 3e38, numpy.float32)))


def test_a_picture_that_is_not_finite_is_no_picture(tiny_model):
    model = tiny_model("flux-dev")
    with pytest.raises(NotFinite, match="the picture became NaN or infinite"):
        model.decode(torch.full((16, 64), float("nan")), 4, 4)


def test_clean_latents_come_only_where_they_are_asked_for(tiny_model):
    model = tiny_model("flux-dev")
    assert denoise(model, job(model, clean_latents=False)).clean is None
    decoded = denoise(model, job(model, clean_latents=False, decode="clean"))
    # at the end of the schedule the clean estimate is the result
    assert torch.allclose(decoded.clean, decoded.latents, atol=1e-5)


def test_a_picture_is_decoded_beside_the_steps_of_another_stage(tiny_model):
    model = tiny_model("flux-dev")
    latents = torch.from_numpy(noise(64, 16))
    pixels, result = model.decode(latents, 8, 8), denoise(model, job(model))
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(("pixels", model.decode(latents, 8, 8)))),
        threading.Thread(target=lambda: found.append(("steps", denoise(model, job(model)).latents))),
    ]
    for thread in threads * 1:
        thread.start()
    for thread in threads:
        thread.join(30)
    both = dict(found)
    assert numpy.array_equal(both["pixels"], pixels) and torch.equal(both["steps"], result.latents)


@pytest.mark.parametrize("name", ["flux-dev", "sd3", "klein", "klein-base"])
def test_warming_up_runs_a_step_of_the_default_size_and_changes_nothing(tiny_model, name):
    model = tiny_model(name)
    want = denoise(model, job(model))
    counts = []
    norm = model.adapter.transformer.norm_out
    hook = norm.register_forward_hook(lambda _m, args, _o: counts.append(tuple(args[0].shape[:2])))
    try:
        model.warm_up()
    finally:
        hook.remove()
    assert counts == [(2 if name in ("sd3", "klein-base") else 1, 64)]
    assert torch.equal(denoise(model, job(model)).latents, want.latents)


def test_a_warm_up_that_fails_is_a_failure_of_the_model(tiny_model):
    model = tiny_model("flux-dev")
    hook = model.adapter.transformer.norm_out.register_forward_pre_hook(lambda *_: torch.empty(2**58))
    try:
        with pytest.raises(ModelFailed) as failed:
            model.warm_up()
    finally:
        hook.remove()
    assert failed.value.part == "warm-up"
