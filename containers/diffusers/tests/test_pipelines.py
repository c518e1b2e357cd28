"""On whole grids the server computes what diffusers' own pipelines do, from the prompt to the picture."""

from __future__ import annotations

import math

import numpy
import pytest
import tiny
import torch
from jobs import denoise, difference, full_grid, make_job, noise

from ralu_stage.engine.diffusers_model import unpack

WIDTH, HEIGHT = 96, 128
ROWS, COLS = HEIGHT // 16, WIDTH // 16
PROMPT = "two blue fish in a red dog"


def pipeline(name: str):
    made = tiny.MAKERS[name]()
    made.set_progress_bar_config(disable=True)
    return made


def run(made, latents, **options):
    """The pipeline's latents and the noise levels that it used."""
    found = made(
        prompt=PROMPT, latents=latents, width=WIDTH, height=HEIGHT, num_inference_steps=5, output_type="latent",
        return_dict=False, **options,
    )[0]  # fmt: skip
    return found, made.scheduler.sigmas.numpy()


@pytest.mark.parametrize("name", ["flux-dev", "flux-schnell"])
def test_flux_is_what_its_pipeline_computes(tiny_model, name):
    model, made = tiny_model(name), pipeline(name)
    latents = noise(ROWS * COLS, 16)
    want, sigmas = run(made, torch.from_numpy(latents)[None], guidance_scale=4.5, max_sequence_length=tiny.TEXT_TOKENS)
    job = make_job(
        model, places=full_grid(ROWS, COLS), latents=latents, sigmas=sigmas, width=WIDTH, height=HEIGHT,
        guidance=4.5 if name == "flux-dev" else None, prompt=PROMPT,
    )  # fmt: skip
    done = denoise(model, job)
    assert difference(done.latents, want[0]) <= 1e-5
    assert done.text_tokens == tiny.TEXT_TOKENS


@pytest.mark.parametrize("name", ["sd3", "sd3.5"])
@pytest.mark.parametrize("guidance", [1.0, 4.5])
def test_sd3_is_what_its_pipeline_computes_with_and_without_guidance(tiny_model, name, guidance):
    model, made = tiny_model(name), pipeline(name)
    latents = noise(ROWS * COLS, 16)
    want, sigmas = run(
        made, unpack(torch.from_numpy(latents), ROWS, COLS), guidance_scale=guidance,
        negative_prompt="a green dog", max_sequence_length=tiny.TEXT_TOKENS,
    )  # fmt: skip
    job = make_job(
        model, places=full_grid(ROWS, COLS), latents=latents, sigmas=sigmas, width=WIDTH, height=HEIGHT,
        guidance=guidance, prompt=PROMPT, negative_prompt="a green dog",
    )  # fmt: skip
    done = denoise(model, job)
    assert difference(unpack(done.latents, ROWS, COLS), want) <= 1e-5


@pytest.mark.parametrize("name", ["klein", "klein-base"])
def test_flux2_is_what_its_pipeline_computes(tiny_model, name):
    model, made = tiny_model(name), pipeline(name)
    latents = noise(ROWS * COLS, 32)
    grid = torch.from_numpy(latents).T.reshape(1, 128, ROWS, COLS)
    want, sigmas = run(made, grid, guidance_scale=4.0, max_sequence_length=2 * tiny.TEXT_TOKENS)
    job = make_job(
        model, places=full_grid(ROWS, COLS), latents=latents, sigmas=sigmas, width=WIDTH, height=HEIGHT, prompt=PROMPT
    )
    done = denoise(model, job)
    got = unpack(model.adapter.to_decoder(done.latents, model.vae), ROWS, COLS)
    assert difference(got, want) <= 1e-5


@pytest.mark.parametrize("name", ["flux-dev", "sd3", "klein"])
def test_a_picture_is_the_pipelines(tiny_model, name):
    model, made = tiny_model(name), pipeline(name)
    latents = torch.from_numpy(noise(ROWS * COLS, model.facts["channels"]))
    with torch.no_grad():
        picture = made.vae.decode(unpack(model.adapter.to_decoder(latents, made.vae), ROWS, COLS), return_dict=False)[0]
    want = made.image_processor.postprocess(picture, output_type="pil")[0]
    pixels = model.decode(latents, ROWS, COLS)
    assert pixels.dtype == numpy.uint8 and pixels.shape == (HEIGHT, WIDTH, 3)
    assert numpy.array_equal(pixels, numpy.asarray(want))
    assert pixels.std() > 5


def plain_levels(facts, steps):
    """The contract's noise levels of a plain run: even ones from 1 to 0, shifted."""
    shift = shift_at(facts["shift"], ROWS * COLS)
    line = numpy.linspace(1, 0, steps + 1)
    return shift * line / (1 + (shift - 1) * line)


@pytest.mark.parametrize(("name", "steps"), [("flux-dev", 50), ("flux-schnell", 4), ("klein", 4), ("klein-base", 50)])
def test_the_stated_shift_gives_the_pipelines_own_noise_levels(tiny_model, name, steps):
    model, made = tiny_model(name), pipeline(name)
    assert model.facts["steps"] == steps
    made(prompt="", width=WIDTH, height=HEIGHT, num_inference_steps=steps, output_type="latent")
    assert numpy.abs(made.scheduler.sigmas.numpy() - plain_levels(model.facts, steps)).max() <= 1e-6


def test_sd3s_pipeline_has_the_stated_shift_but_by_default_another_line(tiny_model):
    """Left alone it divides the line from 1 to a shifted thousandth, and adds 0 as one more level."""
    model, made = tiny_model("sd3"), pipeline("sd3")
    options = {"prompt": "", "width": WIDTH, "height": HEIGHT, "output_type": "latent"}
    made(**options, sigmas=numpy.linspace(1, 1 / 28, 28))
    assert numpy.abs(made.scheduler.sigmas.numpy() - plain_levels(model.facts, 28)).max() <= 1e-6
    made(**options, num_inference_steps=28)
    assert made.scheduler.sigmas[-2:].tolist() == pytest.approx([0.0089286, 0], abs=1e-6)
    assert plain_levels(model.facts, 28)[-2:].tolist() == pytest.approx([0.1, 0])


def shift_at(points, tokens):
    """The contract's rule: log(shift) is linear in tokens, and on along the outermost points."""
    if len(points) == 1:
        return points[0]["shift"]
    last = next((i for i, point in enumerate(points) if point["tokens"] >= tokens), len(points) - 1)
    a, b = points[max(last, 1) - 1], points[max(last, 1)]
    share = (tokens - a["tokens"]) / (b["tokens"] - a["tokens"])
    return math.exp((1 - share) * math.log(a["shift"]) + share * math.log(b["shift"]))


@pytest.mark.parametrize(("steps", "shift"), [(4, 9.89), (28, 8.60), (50, 7.56)])
def test_flux2s_shift_depends_on_tokens_and_steps(tiny_model, steps, shift):
    points = tiny_model("klein").adapter.shift({"use_dynamic_shifting": True}, steps, 16384)
    assert shift_at(points, 4096) == pytest.approx(shift, abs=0.005)
    # above 4300 tokens it grows on another line, whatever the steps
    assert shift_at(points, 16384) == pytest.approx(math.exp(0.00016927 * 16384 + 0.45666666))
