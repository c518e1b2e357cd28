"""Work and memory, counted from configurations: against torch's own counter, the paper's table, parameter counts."""

from __future__ import annotations

import json

import pytest
import tiny
import torch
from jobs import full_grid
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ralu_stage.adapters.adapter import Places
from ralu_stage.flops import clip_work, decoder_work, flux2_work, flux_work, sd3_work, t5_work, text_work
from ralu_stage.memory import count, feature_tokens, on_paper, skeleton
from ralu_stage.source import open_source

FLUX_DEV = {
    "_class_name": "FluxTransformer2DModel",
    "num_layers": 19,
    "num_single_layers": 38,
    "attention_head_dim": 128,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "pooled_projection_dim": 768,
    "in_channels": 64,
    "guidance_embeds": True,
}
SD3_MEDIUM = {
    "_class_name": "SD3Transformer2DModel",
    "sample_size": 128,
    "patch_size": 2,
    "in_channels": 16,
    "out_channels": 16,
    "num_layers": 24,
    "attention_head_dim": 64,
    "num_attention_heads": 24,
    "joint_attention_dim": 4096,
    "caption_projection_dim": 1536,
    "pooled_projection_dim": 2048,
    "pos_embed_max_size": 192,
}
VAE = {
    "_class_name": "AutoencoderKL",
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "latent_channels": 16,
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    "scaling_factor": 0.3611,
    "shift_factor": 0.1159,
}
T5_XXL = {
    "d_model": 4096, "num_heads": 64, "d_kv": 64, "d_ff": 10240, "num_layers": 24, "vocab_size": 32128,
    "feed_forward_proj": "gated-gelu",
}  # fmt: skip
CLIP_L = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12,
          "max_position_embeddings": 77, "vocab_size": 49408}  # fmt: skip


def step(facts, tokens, with_attention=True):
    total = facts["fixed"] + facts["per_token"] * tokens + facts["per_token_squared"] * tokens**2
    attention = (
        facts["attention_fixed"] + facts["attention_per_token"] * tokens + facts["per_token_squared"] * tokens**2
    )
    return total if with_attention else total - attention


# torch counts attention as matrix products where it is written out, and as nothing where it is fused
WRITTEN_OUT, FUSED = SDPBackend.MATH, SDPBackend.FLASH_ATTENTION


def count_flops(run, attention=WRITTEN_OUT):
    with torch.no_grad(), sdpa_kernel(attention), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("name", ["flux-dev", "flux-schnell", "sd3", "sd3.5", "klein", "klein-base"])
@pytest.mark.parametrize("tokens", [16, 48])
def test_a_step_is_what_torch_counts(tiny_model, name, tokens):
    model = tiny_model(name)
    guidance = model.facts["guidance"]
    is_cfg = guidance is not None and guidance["kind"] == "cfg"
    texts = [model.encode("a"), model.encode("b")] if is_cfg else [model.encode("a")]
    places = Places(torch.from_numpy(full_grid(tokens // 8, 8)), tokens // 8, 8)
    velocity = model.adapter.bind(places, texts, 4.0)
    latents = torch.zeros(tokens, 4 * model.facts["channels"])
    flops = model.facts["flops"]
    assert step(flops, tokens) == count_flops(lambda: velocity(latents, 0.5))
    assert step(flops, tokens, with_attention=False) == count_flops(lambda: velocity(latents, 0.5), FUSED)


@pytest.mark.parametrize("name", ["flux-dev", "sd3", "klein"])
def test_text_and_decoder_are_what_torch_counts(tiny_model, name):
    model = tiny_model(name)
    flops, passes = model.facts["flops"], 2 if name == "sd3" else 1
    assert flops["text"] == pytest.approx(passes * count_flops(lambda: model.text.encode("a red cat")), rel=0.001)
    latents = torch.zeros(64, 4 * model.facts["channels"])
    assert flops["decode_per_pixel"] * 128 * 128 == count_flops(lambda: model.decode(latents, 8, 8))


def fixed_work():
    return t5_work(T5_XXL, 512) + clip_work(CLIP_L, 77) + decoder_work("AutoencoderKL", VAE, 1024, 1024)


@pytest.fixture(scope="module")
def fixed():
    """T5, CLIP and decoding 1024²; the paper has 14.78 TFLOPs without attention."""
    return fixed_work() / 1e12


def ralu(facts, steps, ratio, **options):
    mixed = 1024 + 3 * int(ratio * 1024)
    return sum(n * step(facts, tokens, **options) for n, tokens in zip(steps, (1024, mixed, 4096), strict=True)) / 1e12


@pytest.mark.parametrize(
    ("steps", "ratio", "paper", "with_attention"),
    [((5, 6, 7), 0.3, 723.7, 861.3), ((4, 5, 6), 0.2, 592.6, 704.5), ((2, 3, 5), 0.1, 426.01, 510.7)],
)
def test_flux_with_ralu_costs_what_the_table_says(fixed, steps, ratio, paper, with_attention):
    facts = flux_work(FLUX_DEV, 512, True).facts(1)
    half = 2.48  # decoding 512², once
    assert ralu(facts, steps, ratio) + fixed + half == pytest.approx(with_attention, rel=0.005)
    assert ralu(facts, steps, ratio, with_attention=False) + 14.78 + half == pytest.approx(paper, rel=0.005)


@pytest.mark.parametrize(
    ("steps", "guided", "paper", "with_attention"),
    [(50, True, 2991.0, 3734), (10, True, 610.02, 758.6), (7, True, 431.45, 535.5), (4, False, 252.88, 312.3)],
)
def test_flux_costs_what_the_table_says(fixed, steps, guided, paper, with_attention):
    facts = flux_work(FLUX_DEV, 512, guided).facts(1)
    assert steps * step(facts, 4096) / 1e12 + fixed == pytest.approx(with_attention, rel=0.005)
    assert steps * step(facts, 4096, with_attention=False) / 1e12 + 14.78 == pytest.approx(paper, rel=0.005)


def test_schnell_with_ralu_costs_what_the_table_says(fixed):
    facts = flux_work(FLUX_DEV, 512, False).facts(1)
    assert ralu(facts, (1, 1, 2), 0.3) + fixed + 2.48 == pytest.approx(223.5, rel=0.005)
    assert ralu(facts, (1, 1, 2), 0.3, with_attention=False) + 14.78 + 2.48 == pytest.approx(187.92, rel=0.005)


@pytest.mark.parametrize(("steps", "paper"), [(28, 351.66), (14, 183.30), (9, 123.17)])
def test_sd3_costs_what_the_table_says_with_both_passes(steps, paper):
    facts = sd3_work(SD3_MEDIUM, 333).facts(2)
    assert steps * step(facts, 4096, with_attention=False) / 1e12 + 14.78 == pytest.approx(paper, rel=0.005)


@pytest.mark.parametrize(("steps", "ratio", "paper"), [((5, 6, 9), 0.3, 181.09), ((3, 3, 6), 0.2, 116.61)])
def test_sd3_with_ralu_costs_what_the_table_says(steps, ratio, paper):
    facts = sd3_work(SD3_MEDIUM, 333).facts(2)
    assert ralu(facts, steps, ratio, with_attention=False) + 14.78 + 2.48 == pytest.approx(paper, rel=0.005)


def test_one_pass_is_half_of_two():
    one, two = sd3_work(SD3_MEDIUM, 333).facts(1), sd3_work(SD3_MEDIUM, 333).facts(2)
    assert {key: 2 * value for key, value in one.items()} == two


def test_an_unknown_text_encoder_is_counted_as_clip():
    assert text_work("CLIPTextModel", CLIP_L, 77) == clip_work(CLIP_L, 77)


def test_flux2_gates_cost_half_as_much_again():
    """A gated network of ratio 3 has 9 d² where a plain one of ratio 4 has 8 d²."""
    config = {
        "num_layers": 1, "num_single_layers": 0, "num_attention_heads": 1, "attention_head_dim": 64, "in_channels": 128,
        "mlp_ratio": 3.0, "timestep_guidance_channels": 256, "joint_attention_dim": 64,
    }  # fmt: skip
    assert flux2_work(config, 1).per_token == 2 * 13 * 64**2 + 2 * 64 * 256


@pytest.fixture(scope="module")
def flux_on_paper(tmp_path_factory):
    """FLUX.1-dev's real configuration, without weights, as a source."""
    folder = tmp_path_factory.mktemp("paper") / "FLUX.1-dev"
    tiny.write("flux-dev", folder.parent)
    (folder.parent / "flux-dev").rename(folder)
    for component, config in (
        ("transformer", FLUX_DEV),
        ("vae", VAE),
        ("text_encoder", CLIP_L),
        ("text_encoder_2", T5_XXL),
    ):
        (folder / component / "config.json").write_text(json.dumps(config))
    return open_source(str(folder))


def test_flux_has_the_parameters_that_it_is_known_for(flux_on_paper):
    assert count(skeleton(flux_on_paper, "transformer")) / 1e9 == pytest.approx(11.90, abs=0.01)
    assert count(skeleton(flux_on_paper, "text_encoder_2")) / 1e9 == pytest.approx(4.76, abs=0.01)
    assert count(skeleton(flux_on_paper, "text_encoder")) / 1e6 == pytest.approx(123.1, abs=0.2)


def need(source, **settings):
    values = {"value_bytes": 2, "quantize": "none", "offload": "none", "pixels": 1024**2, **settings}
    return on_paper(source, **values).total / 1e9


def test_what_a_card_of_24_gb_needs_for_flux(flux_on_paper):
    card = 24 * 2**30 / 1e9
    assert need(flux_on_paper) > 33
    assert need(flux_on_paper, offload="text") > 24
    assert need(flux_on_paper, quantize="fp8", offload="text") < 16 < card
    # text encoders beside a quantized transformer just fit, on paper
    assert 22 < need(flux_on_paper, quantize="int8") < card


@pytest.mark.parametrize("name", ["flux-dev", "sd3", "sd3.5", "klein"])
def test_features_are_counted_as_a_recorded_step_holds_them(tiny_model, name):
    model = tiny_model(name)
    text = model.encode("a")
    velocity = model.adapter.bind(Places(torch.from_numpy(full_grid(4, 4)), 4, 4), [text], 1.0)
    with torch.no_grad(), model.blocks.recording(1):
        velocity(torch.zeros(16, 4 * model.facts["channels"]), 0.5)
    held = [value for part in model.blocks.parts for each in part.differences for value in each.values]
    model.blocks.clear()
    width = held[0].shape[-1]
    counted = feature_tokens(model.adapter.transformer, 16, text.states.shape[1]) * width
    # SD3's last block hands its text on, which is counted as attention's
    assert sum(value.numel() for value in held) == counted


def test_the_sentence_names_each_part(flux_on_paper):
    memory = on_paper(flux_on_paper, value_bytes=2, quantize="fp8", offload="text", pixels=1024**2)
    assert memory.sentence().startswith("on paper the card needs ")
    assert "transformer 12.0 GB" in memory.sentence() and "text_encoder" not in memory.sentence()
    assert memory.sentence().endswith("for a preset with taylor_blocks 8.6 GB more")
