"""Prompts as the models read them: encoded once for an account, counted, cut, and warned of."""

from __future__ import annotations

import pytest
import tiny
import torch
from jobs import denoise, full_grid, make_job

from ralu_stage.text.cache import TextCache
from ralu_stage.text.encoded import Encoded

NAMES = ["flux-dev", "sd3", "klein"]
LONG = "a red cat and " * 2200
CHINESE = "两只红色的猫在雨中"


def job(model, **options):
    return make_job(model, places=full_grid(4, 4), sigmas=[1, 0.5], width=64, height=64, **options)


def count_encodings(model):
    """Runs of the model's first text encoder, counted in a list."""
    runs = []
    hook = model.text.pipeline.text_encoder.register_forward_hook(lambda *_: runs.append(1))
    return runs, hook


@pytest.mark.parametrize("name", NAMES)
def test_a_prompt_is_encoded_once_for_an_account(tiny_model, name):
    model = tiny_model(name)
    model.texts = TextCache(model.encode)
    runs, hook = count_encodings(model)
    texts = 2 if name == "sd3" else 1
    try:
        first = denoise(model, job(model, prompt="one cat", account_tag="a"))
        again = denoise(model, job(model, prompt="one cat", account_tag="a"))
        assert len(runs) == texts
        denoise(model, job(model, prompt="one cat", account_tag="b"))
        assert len(runs) == 2 * texts
        denoise(model, job(model, prompt="one cat"))
        assert len(runs) == 3 * texts
        denoise(model, job(model, prompt="two cats", account_tag="a"))
        # the empty negative prompt of account a is known already
        assert len(runs) == 3 * texts + 1
    finally:
        hook.remove()
    assert first.encode_text_ms > 0 and again.encode_text_ms == 0
    assert torch.equal(first.latents, again.latents)
    assert (first.text_tokens, first.warnings) == (again.text_tokens, again.warnings)


def entry(size: int) -> Encoded:
    return Encoded(torch.zeros(1, size, 1, dtype=torch.uint8), None, ())


def test_the_longest_unused_prompts_are_forgotten_first():
    encoded = []
    cache = TextCache(lambda prompt: encoded.append(prompt) or entry(1), most_prompts=2)
    for prompt in ("a", "b", "a", "c", "a", "b"):
        cache.get(None, prompt)
    assert encoded == ["a", "b", "c", "b"]


def test_the_cache_is_bounded_in_bytes_but_keeps_the_newest():
    cache = TextCache(lambda prompt: entry(len(prompt)), most_bytes=10)
    for prompt in ("1234", "12345", "123"):
        cache.get(None, prompt)
    assert [prompt for _, prompt in cache.entries] == ["12345", "123"] and cache.bytes == 8
    cache.get(None, "x" * 50)
    assert [prompt for _, prompt in cache.entries] == ["x" * 50] and cache.bytes == 50


def test_what_a_stage_used_is_forgotten_with_it_and_nothing_else():
    encoded = []
    cache = TextCache(lambda prompt: encoded.append(prompt) or entry(1))
    cache.get("a", "x", "one")
    cache.get("a", "x", "two")
    cache.get("a", "y", "three")
    cache.forget("two")
    assert [prompt for _, prompt in cache.entries] == ["y"] and cache.bytes == 1
    cache.get("a", "x", "one")
    assert encoded == ["x", "y", "x"]


def test_a_prompt_whose_encoding_was_stopped_is_kept_by_nobody():
    cache = TextCache(lambda prompt: entry(1))
    cache.get("a", "x", "one", lambda: True)
    assert not cache.entries and cache.bytes == 0


def test_what_nobody_has_used_for_a_while_is_forgotten():
    cache = TextCache(lambda prompt: entry(1))
    cache.get(None, "x")
    cache.forget_unused(60)
    assert len(cache.entries) == 1
    cache.forget_unused(0)
    assert not cache.entries and cache.bytes == 0


@pytest.mark.parametrize(("name", "tokens"), [("flux-dev", 24), ("sd3", 16 + 24), ("klein", 48)])
@pytest.mark.parametrize("prompt", ["", "a red cat", LONG, CHINESE])
def test_text_tokens_count_the_padding_whatever_the_prompt(tiny_model, name, tokens, prompt):
    model = tiny_model(name)
    assert model.facts["text_tokens"] == tokens
    lengths = []
    hook = model.adapter.transformer.context_embedder.register_forward_pre_hook(
        lambda _m, args: lengths.append(args[0].shape[1])
    )
    try:
        done = denoise(model, job(model, prompt=prompt))
    finally:
        hook.remove()
    assert done.text_tokens == tokens and set(lengths) == {tokens}
    assert torch.isfinite(done.latents).all()


@pytest.mark.parametrize(("name", "read"), [("flux-dev", 24), ("sd3", 24), ("klein", 48)])
def test_a_prompt_that_is_cut_is_warned_of_without_its_words(tiny_model, name, read):
    model = tiny_model(name)
    assert len(LONG) > 30_000
    (warning,) = denoise(model, job(model, prompt=LONG)).warnings
    assert warning.endswith(f"the model reads the first {read}") and "red" not in warning
    assert denoise(model, job(model, prompt="a red cat")).warnings == []


def test_letters_that_t5_does_not_know_are_warned_of(tiny_model):
    model = tiny_model("flux-dev")
    (warning,) = denoise(model, job(model, prompt=CHINESE)).warnings
    assert warning == "the model's text encoder does not know some characters of the prompt"
    # a byte-level tokenizer knows every letter
    assert denoise(tiny_model("klein"), job(tiny_model("klein"), prompt="猫")).warnings == []


def test_nothing_of_a_prompt_is_logged(tiny_model, caplog, capfd):
    model = tiny_model("flux-dev")
    denoise(model, job(model, prompt="secretword " * 40))
    out, err = capfd.readouterr()
    assert "secretword" not in out + err + caplog.text


@pytest.mark.parametrize("name", NAMES)
def test_other_prompts_give_other_latents(tiny_model, name):
    model = tiny_model(name)
    a, b = (denoise(model, job(model, prompt=prompt)).latents for prompt in ("a red cat", "a blue fish"))
    assert not torch.allclose(a, b, atol=1e-3)


def test_sd3_without_t5_reads_zeros_in_its_place(tmp_path):
    from ralu_stage.load import LoadSettings, load_model

    made = tiny.sd3()
    made.register_modules(text_encoder_3=None, tokenizer_3=None)
    made.save_pretrained(tmp_path / "small")
    model = load_model(str(tmp_path / "small"), LoadSettings(device="cpu"))
    text = model.encode("a red cat")
    assert text.states.shape[1] == 16 + 256 == model.facts["text_tokens"]
    assert text.states[:, 16:].abs().max() == 0 and text.states[:, :16].abs().max() > 0
    assert model.encode("a red cat " * 9).warnings[0].endswith("the model reads the first 16")
