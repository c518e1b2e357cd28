"""Tokens of any places: mixed grids against the positional formulas, and what the order of tokens does not change."""

from __future__ import annotations

import math

import numpy
import pytest
import torch
from diffusers import SD3Transformer2DModel
from diffusers.models.embeddings import PatchEmbed, get_2d_sincos_pos_embed_from_grid
from jobs import denoise, difference, full_grid, make_job, mixed_grid, noise

from ralu_stage.adapters.adapter import Places
from ralu_stage.adapters.sd3 import TokenEmbed, as_column, from_column
from ralu_stage.engine.diffusers_model import unpack

SIGMAS = [1.0, 0.8, 0.55, 0.3, 0.1, 0.02]
FAMILIES = ["flux-dev", "sd3", "sd3.5", "klein", "klein-base"]
PLACES, SCALE = mixed_grid(4, 4, [1, 6, 7])


def mixed_job(model, **options):
    return make_job(model, places=PLACES, scale=SCALE, sigmas=SIGMAS, width=128, height=128, **options)


def sd3_position(row: float, col: float, rows: int, cols: int, config) -> list[float]:
    """SD3's formula: the grid's middle is the middle of a table of so many entries, whose side is a base length."""
    width = config.num_attention_heads * config.attention_head_dim
    side, base = config.pos_embed_max_size, config.sample_size // config.patch_size
    values = []
    for place, length in ((col, cols), (row, rows)):
        at = (place + (side - length) // 2) * base / side
        angles = [at / 10000 ** (i / (width // 4)) for i in range(width // 4)]
        values += [*map(math.sin, angles), *map(math.cos, angles)]
    return values


@pytest.mark.parametrize("name", ["sd3", "sd3.5"])
def test_sd3s_positions_are_the_formula_at_half_places_too(tiny_model, name):
    adapter = tiny_model(name).adapter
    got = adapter.embed.positions(Places(torch.from_numpy(PLACES), rows=4, cols=4))
    want = [sd3_position(row, col, 4, 4, adapter.transformer.config) for _, row, col in PLACES.tolist()]
    assert numpy.abs(got.numpy() - want).max() <= 1e-6


@pytest.mark.parametrize(("rows", "cols"), [(6, 8), (5, 7), (24, 24), (1, 24)])
def test_sd3s_positions_at_whole_places_are_its_own_table(tiny_folder, rows, cols):
    own = SD3Transformer2DModel.from_pretrained(tiny_folder("sd3") / "transformer").pos_embed
    got = TokenEmbed(own).positions(Places(torch.from_numpy(full_grid(rows, cols)), rows, cols))
    assert (got - own.cropped_pos_embed(2 * rows, 2 * cols)[0]).abs().max() <= 1e-6


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("base", "offset"), [(8, 0), (24, 0), (12, -3.5)])
def test_a_table_of_other_lengths_is_read_from_the_weights(base, offset, dtype):
    own = PatchEmbed(height=16, width=16, patch_size=2, in_channels=16, embed_dim=32, pos_embed_max_size=24)
    lengths = torch.arange(24) * base / 24 + offset
    grid = torch.stack(torch.meshgrid(lengths, lengths, indexing="xy"))
    own.pos_embed = get_2d_sincos_pos_embed_from_grid(32, grid).float()[None].to(dtype)
    got = TokenEmbed(own).positions(Places(torch.from_numpy(full_grid(6, 8)), rows=6, cols=8))
    tolerance = 1e-5 if dtype == torch.float32 else 0.01
    assert (got - own.cropped_pos_embed(12, 16)[0]).abs().max() <= tolerance


def test_a_grid_larger_than_sd3s_table_is_refused(tiny_model):
    with pytest.raises(ValueError, match="the grid is 25 x 4, expected at most 24"):
        tiny_model("sd3").adapter.embed.positions(Places(torch.zeros(1, 3), rows=25, cols=4))


def test_before_the_last_stage_sd3s_table_is_centred_on_the_small_grid(tiny_model):
    model = tiny_model("sd3")
    low = model.places(mixed_job(model))
    full = model.places(make_job(model, places=full_grid(8, 8), sigmas=SIGMAS, width=128, height=128))
    assert (low.rows, low.cols) == (4, 4) and (full.rows, full.cols) == (8, 8)
    # all low ones upsampled: places at halves still count low tokens
    halves, scale = mixed_grid(4, 4, list(range(16)))
    job = make_job(model, places=halves, scale=scale, sigmas=SIGMAS, width=128, height=128)
    assert (model.places(job).rows, model.places(job).cols) == (4, 4)
    # a stage of low tokens alone
    job = make_job(
        model, places=full_grid(4, 4), scale=numpy.full(16, 2, numpy.uint8), sigmas=SIGMAS, width=128, height=128
    )
    assert (model.places(job).rows, model.places(job).cols) == (4, 4)


@pytest.mark.parametrize("name", ["sd3", "sd3.5"])
def test_tokens_at_halves_are_what_sd3s_own_forward_gives_with_the_formula_as_its_table(tiny_model, tiny_folder, name):
    """A whole grid of full tokens whose places count low ones, evaluated directly: no code of the adapter."""
    model = tiny_model(name)
    own = SD3Transformer2DModel.from_pretrained(tiny_folder(name) / "transformer")
    table = own.pos_embed.pos_embed.unflatten(1, (24, 24))
    for row in range(8):
        for col in range(8):
            value = sd3_position(row / 2, col / 2, 4, 4, own.config)
            table[0, 8 + row, 8 + col] = torch.tensor(value)
    text = model.encode("a red cat")
    latents = torch.from_numpy(noise(64, 16))
    halves = Places(torch.from_numpy(full_grid(8, 8)) / 2, rows=4, cols=4)
    with torch.no_grad():
        (want,) = own(unpack(latents, 8, 8), text.states, text.pooled, torch.tensor([400.0]), return_dict=False)
        got = model.adapter.bind(halves, [text], 1.0)(latents, 0.4)
    assert difference(unpack(got, 8, 8), want) <= 1e-5


def test_tokens_go_into_sd3_as_a_column_of_patches_and_come_back():
    tokens = torch.randn(7, 64)
    column = as_column(tokens)
    assert column.shape == (1, 16, 14, 2)
    assert torch.equal(from_column(column)[0], tokens)
    # (channel, row, column) of a token is the patch's
    assert column[0, 3, 2 * 5 + 1, 0] == tokens[5, 3 * 4 + 1 * 2 + 0]


@pytest.mark.parametrize(("name", "axes", "theta"), [("flux-dev", (4, 6, 6), 10000), ("klein", (4, 4, 4, 4), 2000)])
def test_flux_turns_each_token_by_its_very_place(tiny_model, name, axes, theta):
    """Rotary positions against the formula: pair i of an axis of d values turns by place / theta^(2i/d)."""
    model = tiny_model(name)
    seen = []
    handle = model.adapter.transformer.pos_embed.register_forward_hook(
        lambda _m, args, out: seen.append((args[0], out))
    )
    try:
        denoise(model, make_job(model, places=PLACES, scale=SCALE, sigmas=[1, 0.5], width=128, height=128))
    finally:
        handle.remove()
    ids, (cos, sin) = next((ids, out) for ids, out in seen if len(ids) >= len(PLACES))
    ids = ids[-len(PLACES) :]
    assert torch.equal(ids[:, :3], torch.from_numpy(PLACES))
    want = torch.cat(
        [
            (ids[:, axis : axis + 1].double() / theta ** (torch.arange(0, d, 2) / d).double()).repeat_interleave(
                2, dim=1
            )
            for axis, d in enumerate(axes)
        ],
        dim=1,
    )
    assert (cos[-len(PLACES) :] - want.cos()).abs().max() <= 1e-6
    assert (sin[-len(PLACES) :] - want.sin()).abs().max() <= 1e-6


@pytest.mark.parametrize("name", FAMILIES)
def test_a_mixed_grid_is_no_grid_of_whole_places(tiny_model, name):
    """Half places count: rounding them changes the result far beyond what numbers lose."""
    model = tiny_model(name)
    halves = denoise(model, mixed_job(model)).latents
    rounded = make_job(model, places=numpy.floor(PLACES), scale=SCALE, sigmas=SIGMAS, width=128, height=128)
    assert difference(denoise(model, rounded).latents, halves) > 1e-3


@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_in_another_order_give_the_same_in_that_order(tiny_model, name):
    model = tiny_model(name)
    latents = noise(len(PLACES), model.facts["channels"])
    order = numpy.random.default_rng(1).permutation(len(PLACES))
    want = denoise(model, mixed_job(model, latents=latents))
    job = make_job(
        model, places=PLACES[order], scale=SCALE[order], latents=latents[order], sigmas=SIGMAS, width=128, height=128
    )
    got = denoise(model, job)
    assert difference(got.latents, want.latents[order]) <= 1e-5
    assert difference(got.clean, want.clean[order]) <= 1e-5


@pytest.mark.parametrize("name", FAMILIES)
def test_two_stages_end_to_end_are_one(tiny_model, name):
    model = tiny_model(name)
    whole = denoise(model, mixed_job(model))
    first = denoise(model, make_job(model, places=PLACES, scale=SCALE, sigmas=SIGMAS[:3], width=128, height=128))
    second = denoise(
        model,
        make_job(
            model, places=PLACES, scale=SCALE, sigmas=SIGMAS[2:], latents=first.latents.numpy(), width=128, height=128
        ),
    )
    assert torch.equal(second.latents, whole.latents) and torch.equal(second.clean, whole.clean)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_same_stage_twice_gives_the_same_bytes(tiny_model, name):
    model = tiny_model(name)
    assert model.deterministic
    assert torch.equal(denoise(model, mixed_job(model)).latents, denoise(model, mixed_job(model)).latents)


def test_guidance_and_negative_prompt_count_and_guidance_1_is_the_prompt_alone(tiny_model):
    model = tiny_model("sd3")
    with_guidance = denoise(model, mixed_job(model, guidance=5.0)).latents
    assert difference(denoise(model, mixed_job(model, guidance=6.0)).latents, with_guidance) > 1e-3
    assert difference(denoise(model, mixed_job(model, negative_prompt="fish")).latents, with_guidance) > 1e-3
    alone = denoise(model, mixed_job(model, guidance=1.0, negative_prompt="fish"))
    assert torch.equal(alone.latents, denoise(model, mixed_job(model, guidance=1.0)).latents)
    near = denoise(model, mixed_job(model, guidance=1.00001, negative_prompt="fish"))
    assert difference(near.latents, alone.latents) <= 1e-3


def test_flux2_repeats_tokens_because_its_slots_are_normalised_apart(tiny_model):
    """Repeating a token commutes with the normalisation of its slots; repeating latent pixels does not."""
    model = tiny_model("klein")
    assert model.facts["upsampling"] == ["token"]
    tokens = torch.from_numpy(noise(6, 32))

    def latents(values):
        return model.adapter.to_decoder(values, model.vae)

    def repeat_token(values):
        return values.repeat_interleave(4, dim=0)

    def repeat_pixels(values):
        """Child (dy, dx) holds the parent's pixel (dy, dx) in all its four slots."""
        pixels = values.unflatten(1, (-1, 4))
        return pixels.permute(0, 2, 1).repeat_interleave(4, dim=2).flatten(0, 1)

    assert torch.equal(latents(repeat_token(tokens)), repeat_token(latents(tokens)))
    assert difference(latents(repeat_pixels(tokens)), repeat_pixels(latents(tokens))) > 0.1
    # with one scale for all slots, as FLUX.1 and SD3 have, both do
    flux = tiny_model("flux-dev")
    tokens = torch.from_numpy(noise(6, 16))
    for repeat in (repeat_token, repeat_pixels):
        assert torch.equal(
            flux.adapter.to_decoder(repeat(tokens), flux.vae), repeat(flux.adapter.to_decoder(tokens, flux.vae))
        )
