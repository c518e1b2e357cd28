"""Thumbnails: colours fitted to a decoder, and what they show of a stage on its way."""

from __future__ import annotations

from io import BytesIO

import httpx
import numpy
import pytest
from closed_form import ClosedForm
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families
from running import Gate, Running, running, until
from stage_requests import even_sigmas, fresh_id, stage_body

from ralu_stage.picture.colours import fit_colours, paint


def linear_decoder(channels: int, token_pixels: int, parts: int, gain: float):
    """A decoder that is linear in each latent pixel; each of a token's four has colours of its own in parts."""
    weights = gain * numpy.random.default_rng(1).uniform(-1, 1, (2, 2, channels, parts, parts, 3))
    grow = token_pixels // 2 // parts

    def decode(latents: numpy.ndarray, rows: int, cols: int) -> numpy.ndarray:
        squares = latents.reshape(rows, cols, channels, 2, 2)
        pixels = 127.5 + numpy.einsum("abcij,ijcuvk->aiubjvk", squares, weights)
        pixels = pixels.reshape(2 * rows * parts, 2 * cols * parts, 3).round().clip(0, 255).astype(numpy.uint8)
        return pixels.repeat(grow, axis=0).repeat(grow, axis=1)

    return decode, weights


@pytest.mark.parametrize(("channels", "token_pixels", "parts"), [(4, 16, 4), (16, 16, 2), (32, 4, 1), (3, 12, 3)])
def test_the_colours_of_a_linear_decoder_are_its_own(channels, token_pixels, parts):
    decode, _ = linear_decoder(channels, token_pixels, parts, 30)
    colours = fit_colours(decode, channels, token_pixels)
    latents = numpy.random.default_rng(2).normal(0, 0.3, (6, 4 * channels)).astype(numpy.float32)
    painted = paint(colours, latents, 2, 3, 1000).astype(int)
    whole = decode(latents, 2, 3).astype(int)
    scale = len(whole) // len(painted)
    assert abs(painted - whole[::scale, ::scale]).max() <= 2


def test_what_a_decoder_clips_is_left_out_of_the_fit():
    decode, weights = linear_decoder(4, 4, 1, 120)
    fitted = fit_colours(decode, 4, 4).weights[:, :, :-1]
    assert abs(fitted - weights).max() < 8


def test_a_decoder_that_clips_nearly_everything_has_the_colours_that_are_seen():
    decode, _ = linear_decoder(4, 4, 1, 5000)
    grey = paint(fit_colours(decode, 4, 4), numpy.zeros((1, 16)), 1, 1, 2)
    assert abs(grey.astype(int) - 127).max() < 64


@pytest.mark.parametrize(("rows", "cols", "size"), [(1, 1, (8, 8)), (4, 8, (64, 32)), (16, 16, (128, 128))])
def test_no_more_pixels_are_painted_than_are_wanted_where_fewer_do(rows, cols, size):
    decode, _ = linear_decoder(4, 16, 4, 20)
    colours = fit_colours(decode, 4, 16)
    assert Image.fromarray(paint(colours, numpy.zeros((rows * cols, 16)), rows, cols, 96)).size == size
    assert paint(colours, numpy.zeros((64 * 64, 16)), 64, 64, 96).shape == (128, 128, 3)


def look(server: Running, stage_id: str) -> httpx.Response:
    return server.client.get(f"/v1/stages/{stage_id}/thumbnail")


def counted(server: Running, name: str) -> float:
    families = text_string_to_metric_families(server.client.get("/metrics").text)
    return sum(sample.value for family in families for sample in family.samples if sample.name == name)


class TestAThumbnail:
    def test_shows_the_newest_step_and_is_made_once_for_all_who_ask(self):
        gate, stage_id = Gate(), fresh_id()
        with running(ClosedForm(gate)) as server, server.put(stage_body(sigmas=even_sigmas(3)), stage_id) as answer:
            assert look(server, stage_id).status_code == 204
            for step in (1, 2):
                gate.open()
                until(lambda step=step: look(server, stage_id).headers.get("x-stage-step") == str(step))
                shown = [look(server, stage_id) for _ in range(3)]
                assert {(each.status_code, each.content) for each in shown} == {(200, shown[0].content)}
                assert shown[0].headers["content-type"] == "image/webp"
                size = Image.open(BytesIO(shown[0].content)).size
                assert shown[0].headers["x-stage-size"] == f"{size[0]}x{size[1]}"
                assert counted(server, "stage_thumbnails_total") == step
            assert counted(server, "stage_thumbnail_seconds_total") > 0
            gate.open_for_good()
            assert answer.all()[-1]["event"] == "done"
            assert look(server, stage_id).status_code == 204
            assert server.delete(stage_id) == 204
            assert look(server, stage_id).json()["code"] == "unknown_stage"

    def test_that_cannot_be_made_fails_no_stage(self):
        class Broken(ClosedForm):
            def denoise(self, job, on_step, should_stop):
                def broken():
                    raise MemoryError

                return super().denoise(job, lambda *step: on_step(*step[:3], broken), should_stop)

        gate, stage_id = Gate(), fresh_id()
        with running(Broken(gate)) as server, server.put(stage_body(sigmas=even_sigmas(3)), stage_id) as answer:
            gate.open()
            until(lambda: look(server, stage_id).status_code == 500)
            gate.open_for_good()
            assert answer.all()[-1]["event"] == "done"
            assert counted(server, "stage_thumbnails_total") == 0

    def test_is_none_of_a_model_whose_colours_are_not_known(self):
        gate, stage_id = Gate(), fresh_id()
        model = ClosedForm(gate)
        model.colours = None
        with running(model) as server, server.put(stage_body(sigmas=even_sigmas(3)), stage_id) as answer:
            gate.open()
            next(answer.events())
            assert look(server, stage_id).status_code == 204
            gate.open_for_good()

    def test_is_none_of_tokens_that_cover_no_grid(self):
        gate, stage_id = Gate(), fresh_id()
        ids = numpy.zeros((8, 3), numpy.float32)
        body = stage_body(sigmas=even_sigmas(3), tensors={"img_ids": ids})
        with running(ClosedForm(gate)) as server, server.put(body, stage_id) as answer:
            gate.open()
            next(answer.events())
            assert look(server, stage_id).status_code == 204
            gate.open_for_good()
