"""Every refusal by status, code and field; and what a right request becomes."""

from __future__ import annotations

import itertools

import numpy
import pytest
from closed_form import FACTS
from stage_requests import PROMPT, even_sigmas, seeded_latents, stage_body, tokens_of

from ralu_stage.contract.cover import Cover, cover_fault
from ralu_stage.contract.facts import check_facts
from ralu_stage.contract.message import Message, decode_message, encode_message
from ralu_stage.contract.refusal import Refusal
from ralu_stage.contract.request import Cache, parse_stage

PLAIN = check_facts(FACTS, "closed-form/1 cpu", True)
ABLE = check_facts(
    FACTS
    | {
        "id": "able",
        "aliases": [],
        "guidance": {"min": 1, "max": 10, "default": 3.5, "kind": "cfg"},
        "negative_prompt": True,
        "caches": ["taylor_velocity", "taylor_blocks"],
        "size_rule": {"multiple": 32, "min_pixels": 2048, "max_pixels": 16384, "max_aspect": 4},
    },
    "closed-form/1 cpu",
    True,
)
BARE = check_facts(FACTS | {"caches": []}, "closed-form/1 cpu", True)
MODELS = {"closed-form": PLAIN, "cf": PLAIN, "able": ABLE}

LOW = seeded_latents(8)
LOW_IDS, LOW_SCALE = tokens_of("low")
FULL_IDS, FULL_SCALE = tokens_of("full")
CACHE = {"kind": "taylor_velocity", "interval": 3, "order": 2, "warmup": 2}
PREVIEW = {"format": "webp", "longest_side": 64}


def changed(values: numpy.ndarray, at, value) -> numpy.ndarray:
    copy = values.copy()
    copy[at] = value
    return copy


def f32(*shape: int) -> numpy.ndarray:
    return numpy.zeros(shape, numpy.float32)


def u8(*shape: int) -> numpy.ndarray:
    return numpy.ones(shape, numpy.uint8)


# title: (status, code, field, the request)
BAD = {
    "metadata that is not JSON": (400, "bad_metadata", "width", {"metadata": {"width": "{"}}),
    "metadata that is NaN": (400, "bad_metadata", "guidance", {"metadata": {"guidance": "NaN"}}),
    "metadata nested without end": (400, "bad_metadata", "cache", {"metadata": {"cache": "[" * 50_000}}),
    "a missing option": (400, "bad_metadata", "quality", {"metadata": {"quality": None}}),
    "an option nobody knows": (400, "bad_metadata", "sampler", {"sampler": True}),
    "an unknown option that is not JSON": (400, "bad_metadata", "sampler", {"sampler": "heun"}),
    "a name of an option without end": (400, "bad_metadata", "x" * 200, {"x" * 5000: True}),
    "no model": (400, "bad_metadata", "model", {"model": ""}),
    "a number given as text": (400, "bad_metadata", "width", {"metadata": {"width": '"wide"'}}),
    "half a pixel": (400, "bad_metadata", "width", {"width": 64.5}),
    "no width": (400, "bad_metadata", "width", {"width": 0}),
    "a height that is a boolean": (400, "bad_metadata", "height", {"height": True}),
    "a number without end": (400, "bad_metadata", "guidance", {"metadata": {"guidance": "1e999"}}),
    "a guidance that is a boolean": (400, "bad_metadata", "guidance", {"guidance": False}),
    "a boolean given as a number": (400, "bad_metadata", "rgb", {"rgb": 1}),
    "a prompt over the limit": (400, "bad_metadata", "prompt", {"prompt": "a" * 32_001}),
    "a prompt over the limit, in pairs of units": (400, "bad_metadata", "prompt", {"prompt": "🦊" * 16_001}),
    "a negative prompt over the limit": (400, "bad_metadata", "negative_prompt", {"negative_prompt": "a" * 32_001}),
    "an unknown kind of decoding": (400, "bad_metadata", "decode", {"decode": "video"}),
    "an unknown format": (400, "bad_metadata", "format", {"format": "gif"}),
    "a quality of 0": (400, "bad_metadata", "quality", {"quality": 0}),
    "a quality of 101": (400, "bad_metadata", "quality", {"quality": 101}),
    "a preview larger than 1024": (
        400, "bad_metadata", "preview.longest_side", {"decode": "clean", "preview": PREVIEW | {"longest_side": 1025}},
    ),
    "a preview smaller than 16": (
        400, "bad_metadata", "preview.longest_side", {"decode": "clean", "preview": PREVIEW | {"longest_side": 15}},
    ),
    "a preview of no format": (400, "bad_metadata", "preview.format", {"preview": {"longest_side": 64}}),
    "a cache that is no object": (400, "bad_metadata", "cache", {"cache": True}),
    "a cache of an unknown kind": (400, "bad_metadata", "cache.kind", {"cache": CACHE | {"kind": "taylor"}}),
    "a cache that evaluates every step": (400, "bad_metadata", "cache.interval", {"cache": CACHE | {"interval": 1}}),
    "a cache of order 5": (400, "bad_metadata", "cache.order", {"cache": CACHE | {"order": 5}}),
    "a cache of a negative order": (400, "bad_metadata", "cache.order", {"cache": CACHE | {"order": -1}}),
    "a cache without a warm-up": (400, "bad_metadata", "cache.warmup", {"cache": CACHE | {"warmup": 0}}),
    "a cache with an unknown part": (400, "bad_metadata", "cache.depth", {"cache": CACHE | {"depth": 1}}),
    "an empty account tag": (400, "bad_metadata", "account_tag", {"account_tag": ""}),
    "an account tag that is too long": (400, "bad_metadata", "account_tag", {"account_tag": "a" * 65}),
    "an account tag with a space": (400, "bad_metadata", "account_tag", {"account_tag": "a b"}),
    "an account tag with a line": (400, "bad_metadata", "account_tag", {"account_tag": "a\n"}),
    "an account tag of other letters": (400, "bad_metadata", "account_tag", {"account_tag": "ä"}),
    "a solver nobody knows": (400, "bad_metadata", "solver", {"solver": "heun"}),
    "clean latents that are null": (400, "bad_metadata", "clean_latents", {"clean_latents": None}),
    "a missing tensor": (400, "bad_tensor", "sigmas", {"tensors": {"sigmas": None}}),
    "a tensor nobody knows": (400, "bad_tensor", "mask", {"tensors": {"mask": f32(1)}}),
    "latents of another dtype": (400, "bad_tensor", "latents", {"tensors": {"latents": u8(8, 16)}}),
    "scales of another dtype": (400, "bad_tensor", "scale", {"tensors": {"scale": f32(8)}}),
    "latents of another rank": (400, "bad_tensor", "latents", {"tensors": {"latents": f32(8, 4, 4)}}),
    "latents of no rank": (400, "bad_tensor", "latents", {"tensors": {"latents": f32()}}),
    "fewer ids than tokens": (400, "bad_tensor", "img_ids", {"tensors": {"img_ids": f32(1, 3)}}),
    "ids of four axes": (400, "bad_tensor", "img_ids", {"tensors": {"img_ids": f32(8, 4)}}),
    "fewer scales than tokens": (400, "bad_tensor", "scale", {"tensors": {"scale": u8(1)}}),
    "sigmas of another rank": (400, "bad_tensor", "sigmas", {"tensors": {"sigmas": f32(1, 2)}}),
    "no tokens": (
        422, "no_tokens", "latents", {"tensors": {"latents": f32(0, 16), "img_ids": f32(0, 3), "scale": u8(0)}},
    ),
    "an unknown model": (422, "unknown_model", "model", {"model": "no-such-model"}),
    "a size the model does not have": (422, "unsupported_size", "width", {"width": 48, "height": 16}),
    "a size outside the rule": (422, "unsupported_size", "width", {"model": "able", "width": 160, "height": 128}),
    "a size too small for the rule": (422, "unsupported_size", "width", {"model": "able", "width": 32, "height": 32}),
    "a size too long for the rule": (422, "unsupported_size", "width", {"model": "able", "width": 160, "height": 32}),
    "a size between the multiples": (422, "unsupported_size", "width", {"model": "able", "width": 80, "height": 64}),
    "guidance for a model without": (422, "unsupported_option", "guidance", {"guidance": 3.5}),
    "guidance under its range": (422, "out_of_range", "guidance", {"model": "able", "guidance": 0.5}),
    "guidance over its range": (422, "out_of_range", "guidance", {"model": "able", "guidance": 10.5}),
    "a negative prompt for a model without": (
        422, "unsupported_option", "negative_prompt", {"negative_prompt": "unspeakable"},
    ),
    "pixels of what is not decoded": (422, "unsupported_option", "rgb", {"rgb": True}),
    "pixels of a finished image": (422, "unsupported_option", "rgb", {"decode": "image", "rgb": True}),
    "a preview of nothing": (422, "unsupported_option", "preview", {"preview": PREVIEW}),
    "clean latents with a finished image": (
        422, "unsupported_option", "clean_latents", {"layout": "full", "decode": "image", "clean_latents": True},
    ),
    "a late preview of nothing": (422, "unsupported_option", "late_preview", {"decode": "clean", "late_preview": True}),
    "a late preview beside a finished image": (
        422, "unsupported_option", "late_preview",
        {"layout": "full", "decode": "image", "rgb": False, "preview": PREVIEW, "late_preview": True},
    ),
    "another size of no image": (
        422, "unsupported_option", "enlarge", {"decode": "clean", "enlarge": {"width": 64, "height": 64}},
    ),
    "an image of more than 2048 pixels a side": (
        400, "bad_metadata", "enlarge.width",
        {"layout": "full", "decode": "image", "rgb": False, "enlarge": {"width": 2049, "height": 64}},
    ),
    "an image of another size with one side": (
        400, "bad_metadata", "enlarge.height",
        {"layout": "full", "decode": "image", "rgb": False, "enlarge": {"width": 64}},
    ),
    "a late preview that is a number": (
        400, "bad_metadata", "late_preview", {"decode": "clean", "preview": PREVIEW, "late_preview": 1},
    ),
    "a cache with steps of second order": (422, "unsupported_option", "cache", {"cache": CACHE, "solver": "ab2"}),
    "a cache the model has not": (
        422, "unsupported_option", "cache", {"cache": CACHE | {"kind": "taylor_blocks"}},
    ),
    "tokens of another width": (422, "out_of_range", "latents", {"tensors": {"latents": f32(8, 4)}}),
    "too many tokens": (
        422, "too_many_tokens", "latents",
        {"tensors": {"latents": f32(65, 16), "img_ids": f32(65, 3), "scale": u8(65)}},
    ),
    "NaN among the latents": (422, "not_finite", "latents", {"tensors": {"latents": changed(LOW, (0, 5), numpy.nan)}}),
    "infinity among the latents": (
        422, "not_finite", "latents", {"tensors": {"latents": changed(LOW, (7, 15), -numpy.inf)}},
    ),
    "NaN among the ids": (422, "not_finite", "img_ids", {"tensors": {"img_ids": changed(LOW_IDS, (1, 1), numpy.nan)}}),
    "a frame other than 0": (422, "out_of_range", "img_ids", {"tensors": {"img_ids": changed(LOW_IDS, (1, 0), 1)}}),
    "a scale of 3": (422, "out_of_range", "scale", {"tensors": {"scale": changed(LOW_SCALE, 1, 3)}}),
    "a scale of 0": (422, "out_of_range", "scale", {"tensors": {"scale": changed(LOW_SCALE, 1, 0)}}),
    "no sigma": (422, "out_of_range", "sigmas", {"sigmas": []}),
    "a single sigma": (422, "out_of_range", "sigmas", {"sigmas": [1]}),
    "a thousand and one steps": (422, "out_of_range", "sigmas", {"sigmas": even_sigmas(1001)}),
    "sigmas that stay equal": (422, "not_decreasing", "sigmas", {"sigmas": [1, 0.5, 0.5]}),
    "sigmas that rise": (422, "not_decreasing", "sigmas", {"sigmas": [0.5, 0.75]}),
    "a sigma over 1": (422, "out_of_range", "sigmas", {"sigmas": [1.5, 0]}),
    "a sigma under 0": (422, "out_of_range", "sigmas", {"sigmas": [0.5, -0.25]}),
    "a sigma that is NaN": (422, "not_finite", "sigmas", {"sigmas": [1, numpy.nan]}),
    "an image before sigma 0": (
        422, "unfinished_image", "sigmas", {"layout": "full", "sigmas": [1, 0.5], "decode": "image"},
    ),
    "an image of low tokens": (422, "unfinished_image", "scale", {"decode": "image"}),
    "two tokens at one place": (
        422, "bad_grid", "img_ids",
        {"layout": "full", "decode": "image", "tensors": {"img_ids": changed(FULL_IDS, (1, 2), 0)}},
    ),
    "a token outside the grid": (
        422, "bad_grid", "img_ids", {"decode": "clean", "tensors": {"img_ids": changed(LOW_IDS, (0, 1), 1000)}},
    ),
    "a low token at half a place": (
        422, "bad_grid", "img_ids", {"decode": "clean", "tensors": {"img_ids": changed(LOW_IDS, (0, 1), 0.5)}},
    ),
    "a grid with a hole": (
        422, "bad_grid", "img_ids",
        {"decode": "clean", "tensors": {"latents": LOW[:7], "img_ids": LOW_IDS[:7], "scale": LOW_SCALE[:7]}},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("status", "code", "field", "request_"), BAD.values(), ids=BAD.keys())
def test_a_bad_request_is_refused_by_code_and_field(status, code, field, request_):
    with pytest.raises(Refusal) as caught:
        parse_stage(stage_body(**request_), MODELS)
    refusal = caught.value
    assert (refusal.status, refusal.code, refusal.field) == (status, code, field)
    assert refusal.message.strip() == refusal.message != ""
    for secret in (PROMPT, "unspeakable", "aaaa", "🦊🦊"):
        assert secret not in refusal.message
    assert len(refusal.message) < 1000


@pytest.mark.parametrize("cut", [0, 7, 100, -1])
def test_a_cut_body_is_no_message(cut):
    with pytest.raises(Refusal) as caught:
        parse_stage(stage_body()[:cut], MODELS)
    assert (caught.value.status, caught.value.code, caught.value.field) == (400, "not_safetensors", None)


def test_a_cache_that_no_model_has_is_of_a_kind_nobody_knows():
    for kind, models in [("taylor_blocks", {"closed-form": PLAIN}), ("taylor_velocity", {"closed-form": BARE})]:
        with pytest.raises(Refusal) as caught:
            parse_stage(stage_body(cache=CACHE | {"kind": kind}), models)
        assert (caught.value.status, caught.value.code, caught.value.field) == (400, "bad_metadata", "cache.kind")


def test_a_body_without_options_lacks_the_first():
    empty = encode_message(Message({}, decode_message(stage_body()).tensors))
    with pytest.raises(Refusal) as caught:
        parse_stage(empty, MODELS)
    assert (caught.value.status, caught.value.code, caught.value.field) == (400, "bad_metadata", "model")


def test_a_right_request_becomes_a_job():
    job = parse_stage(
        stage_body(layout="mixed", model="cf", decode="clean", account_tag="account-7", cache=CACHE), MODELS
    )
    assert job.model == "closed-form"
    assert job.steps == 2
    assert job.cover == Cover(rows=4, cols=8, unit=2)
    assert job.guidance is None
    assert job.options.cache == Cache(**CACHE)
    assert (job.options.solver, job.options.clean_latents, job.options.account_tag) == ("euler", False, "account-7")
    numpy.testing.assert_array_equal(job.latents, seeded_latents(11), strict=True)
    job.latents[:] = 0  # they are its own


def test_guidance_is_the_models_where_the_request_says_null():
    assert parse_stage(stage_body(model="able"), MODELS).guidance == 3.5
    assert parse_stage(stage_body(model="able", guidance=1), MODELS).guidance == 1.0
    assert parse_stage(stage_body(model="able", guidance=10), MODELS).guidance == 10.0


def test_whole_numbers_may_be_written_with_a_point():
    job = parse_stage(stage_body(metadata={"width": "128.0", "quality": "8e1"}), MODELS)
    assert (job.options.width, job.options.quality) == (128, 80)


def test_a_size_may_come_from_the_rule():
    for width, height in [(64, 64), (128, 32), (32, 128), (128, 128)]:
        assert parse_stage(stage_body(model="able", width=width, height=height), MODELS).options.height == height


def test_the_ids_of_a_full_grid_count_full_tokens():
    assert parse_stage(stage_body(layout="full", decode="image"), MODELS).cover == Cover(4, 8, 1)
    assert parse_stage(stage_body(layout="all-upsampled", decode="clean"), MODELS).cover == Cover(4, 8, 2)
    assert parse_stage(stage_body(layout="low", decode="clean"), MODELS).cover == Cover(4, 8, 2)


def test_both_kinds_of_cache_reach_a_model_that_has_both():
    for kind in ("taylor_velocity", "taylor_blocks"):
        options = parse_stage(stage_body(model="able", cache=CACHE | {"kind": kind}), MODELS).options
        assert options.cache is not None
        assert options.cache.kind == kind
        assert [step for step in range(1, 12) if options.evaluates(step)] == [1, 2, 5, 8, 11]
    assert all(parse_stage(stage_body(), MODELS).options.evaluates(step) for step in range(1, 100))


@pytest.mark.parametrize("prompt", ["", "苹果" * 15_000, "a" * 32_000, "🦊" * 16_000, "\u0000", "null", "{", '"'])
def test_a_prompt_may_be_any_text(prompt):
    job = parse_stage(stage_body(model="able", prompt=prompt, negative_prompt=prompt), MODELS)
    assert job.options.prompt == job.options.negative_prompt == prompt


def test_half_a_pair_of_units_becomes_a_sign_that_every_encoder_takes():
    assert parse_stage(stage_body(prompt="a \ud83e b"), MODELS).options.prompt == "a \ufffd b"


def test_an_older_preview_may_hold_more():
    options = parse_stage(stage_body(decode="clean", preview=PREVIEW | {"sharpen": True}), MODELS).options
    assert options.preview is not None
    assert options.preview.longest_side == 64


class TestCover:
    def test_every_way_of_upsampling_a_small_grid_covers_it(self):
        for chosen in itertools.product([False, True], repeat=4):
            img_ids, scale = [], []
            for (row, col), is_upsampled in zip([(0, 0), (0, 1), (1, 0), (1, 1)], chosen, strict=True):
                halves = [(0, 0), (0, 0.5), (0.5, 0), (0.5, 0.5)] if is_upsampled else [(0, 0)]
                img_ids += [(0, row + down, col + right) for down, right in halves]
                scale += [1 if is_upsampled else 2] * len(halves)
            order = numpy.random.default_rng(sum(chosen)).permutation(len(scale))
            ids, sides = numpy.array(img_ids, numpy.float32)[order], numpy.array(scale, numpy.uint8)[order]
            assert cover_fault(ids, sides, Cover(4, 4, 2)) is None
            for left_out in range(len(scale)):
                kept = numpy.arange(len(scale)) != left_out
                assert "nothing covers" in (cover_fault(ids[kept], sides[kept], Cover(4, 4, 2)) or "")
            twice = numpy.concatenate([ids, ids[:1]]), numpy.concatenate([sides, sides[:1]])
            assert f"token {len(scale)} covers" in (cover_fault(*twice, Cover(4, 4, 2)) or "")

    @pytest.mark.parametrize(
        ("place", "side"), [((-1, 0), 1), ((0, -0.5), 1), ((0.25, 0), 1), ((2, 0), 1), ((0, 1.5), 2), ((3e38, 0), 1)]
    )
    def test_a_token_must_lie_on_the_grid(self, place, side):
        ids = numpy.array([(0, *place)], numpy.float32)
        fault = cover_fault(ids, numpy.array([side], numpy.uint8), Cover(4, 4, 2))
        assert fault is not None
        assert fault.startswith(f"token 0 of scale {side} lies at cell")
