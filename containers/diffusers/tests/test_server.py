"""The server with a model that can be held: the line, readers, keeping, failures, bodies, starting and stopping."""

from __future__ import annotations

import asyncio
import json
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy
import pytest
from closed_form import FACTS, ClosedForm
from prometheus_client.parser import text_string_to_metric_families
from running import PATIENCE_S, TOKEN, Gate, running, until
from stage_requests import TRACE, even_sigmas, fresh_id, seeded_latents, stage_body, tokens_of

from ralu_stage.contract.message import MAX_MESSAGE_BYTES
from ralu_stage.serve.app import ServerLimits, StageServer
from ralu_stage.serve.body import BodyLimits
from ralu_stage.serve.stages import StageLimits

CACHE = {"kind": "taylor_velocity", "interval": 10, "order": 1, "warmup": 1}
IMAGE = {"layout": "full", "sigmas": [1, 0], "decode": "image"}
PREVIEW = {"format": "png", "longest_side": 64}
LATE = {"sigmas": [1, 0.5], "decode": "clean", "rgb": False, "preview": PREVIEW, "late_preview": True}


def limited(**limits: object) -> ServerLimits:
    return ServerLimits(stages=StageLimits(**limits), drain_s=1)  # type: ignore[arg-type]


def raw_request(body: bytes, stage_id: str = "x", length: int | None = None) -> bytes:
    """A request whose body is said to be `length` long, and may be another."""
    head = [
        f"PUT /v1/stages/{stage_id} HTTP/1.1",
        "Host: stage",
        f"X-Stage-Token: {TOKEN}",
        f"Content-Length: {len(body) if length is None else length}",
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


def names(events: list[dict]) -> list[str]:
    return [event["event"] for event in events]


class TestAnAnswer:
    def test_tells_each_step_as_it_happens_and_then_done(self):
        gate = Gate()
        with running(ClosedForm(gate)) as server, server.put(stage_body(sigmas=[1, 0.75, 0.5, 0.25])) as answer:
            assert answer.response.headers["content-type"] == "application/vnd.safetensors-sequence"
            assert answer.response.headers["cache-control"] == "no-store"
            events = answer.events()
            for step, sigma in enumerate([1, 0.75, 0.5], start=1):
                gate.open()
                event = next(events)
                assert event.pop("ms") >= 0
                assert event == {"event": "step", "step": step, "steps": 3, "sigma": sigma}
            done = next(events)
            assert done["event"] == "done"
            assert (done["steps_done"], done["evaluations"], done["text_tokens"]) == (3, 3, 3)
            assert (done["engine"], done["model_digest"]) == ("closed-form/1 cpu", "closed-form-1")
            assert (done["decode_ms"], done["encode_ms"], done["warnings"]) == (0, 0, [])
            assert list(answer.tensors) == ["latents"]
            assert list(events) == []

    def test_has_the_latents_that_the_formula_gives(self):
        with running(ClosedForm()) as server:
            body = stage_body(sigmas=[1, 0.5], clean_latents=True)
            tensors = server.finish(body)[1]
        x = numpy.float64(2 * numpy.sin(12.9898 * numpy.arange(1, 8 * 16 + 1) + 0.3).astype(numpy.float32))
        v = numpy.tanh(x) * 1.53
        numpy.testing.assert_allclose(tensors["latents"].ravel(), x - 0.5 * v, rtol=1e-6)
        numpy.testing.assert_allclose(tensors["clean_latents"].ravel(), x - v, rtol=1e-5, atol=1e-6)

    def test_has_the_picture_of_a_mixed_grid_at_the_images_size(self):
        with running(ClosedForm()) as server:
            mixed = server.finish(stage_body(layout="mixed", sigmas=[1, 0.5], decode="clean"))[1]
            low = server.finish(stage_body(layout="low", sigmas=[1, 0.5], decode="clean"))[1]
            preview = {"format": "png", "longest_side": 64}
            image = server.finish(stage_body(**IMAGE, preview=preview))[1]
        assert (list(mixed), mixed["rgb"].shape) == (["latents", "rgb"], (64, 128, 3))
        assert low["rgb"].shape == (32, 64, 3)
        assert list(image) == ["image", "preview"]
        assert bytes(image["image"][:4]) == b"\x89PNG"

    def test_is_the_same_bytes_when_it_is_kept(self):
        with running(model := ClosedForm()) as server:
            stage_id, body = fresh_id(), stage_body(decode="clean")
            path = f"/v1/stages/{stage_id}"
            first = server.client.put(path, content=body).content
            assert [server.client.put(path, content=body).content for _ in range(3)] == [first] * 3
            assert model.calls["velocity"] == 2

    def test_runs_in_the_thread_that_owns_the_device_and_draws_in_another(self):
        with running(model := ClosedForm(), other := ClosedForm(id="other", aliases=[])) as server:
            for name in ("closed-form", "other", "cf"):
                server.finish(stage_body(**IMAGE, model=name))
        assert model.threads["velocity"] == other.threads["velocity"] == model.threads["text"] == {"device_0"}
        assert model.threads["decode"] == other.threads["decode"] == {"pictures_0"}
        assert other.calls["velocity"] == 1


class TestTheLine:
    def test_who_waits_is_told_its_place_again_when_it_moves_up_and_as_a_sign_of_life(self):
        gate = Gate()
        with (
            running(ClosedForm(gate), limits=limited(alive_s=0.05)) as server,
            server.put(stage_body(sigmas=even_sigmas(3))) as running_,
        ):
            gate.open()
            running_.until("step")
            with server.put(stage_body()) as second, server.put(stage_body()) as third:
                second_events, third_events = second.events(), third.events()
                assert next(second_events).items() >= {"event": "queued", "position": 1}.items()
                for _ in range(3):
                    assert next(third_events).items() >= {"event": "queued", "position": 2}.items()
                assert server.health().items() >= {"status": "busy", "queue": 2}.items()
                gate.open_for_good()
                told = list(third_events)
                assert {"queued"} == {event["event"] for event in told if event.get("position") == 1}
                assert told[-1]["event"] == list(second_events)[-1]["event"] == "done"
            until(lambda: server.health() == {"status": "ready", "queue": 0, "eta_ms": 0, "version": "0.1.0"})

    def test_a_first_step_that_takes_long_is_not_a_silence(self):
        gate = Gate()
        with running(ClosedForm(gate), limits=limited(alive_s=0.03)) as server, server.put(stage_body()) as answer:
            events = answer.events()
            for _ in range(3):
                assert next(events) == {"event": "queued", "position": 0, "eta_ms": 0}
            gate.open_for_good()
            rest = names(list(events))
            assert rest[-3:] == ["step", "step", "done"]

    def test_the_time_ahead_is_the_evaluations_still_to_do_at_the_pace_measured(self):
        gate = Gate()

        def before(part: str) -> None:
            gate(part)
            time.sleep(0.02 if part == "velocity" else 0)

        with (
            running(ClosedForm(before)) as server,
            server.put(stage_body(sigmas=even_sigmas(21), cache=CACHE)) as answer,
        ):
            gate.open()
            events = answer.events()
            # one step is evaluated and nine are forecast, then two more times so
            ms = next(events)["ms"]
            for _ in range(9):
                next(events)
            until(lambda: gate.held)
            assert abs(server.health()["eta_ms"] - 2 * ms) <= 1
            with server.put(stage_body()) as waiting:
                assert abs(waiting.until("queued")["eta_ms"] - 2 * ms) <= 1
                gate.open_for_good()
                assert list(events)[-1].items() >= {"steps_done": 21, "evaluations": 3}.items()

    def test_is_first_come_first_served_one_at_a_time(self):
        gate = Gate()
        ids = [fresh_id() for _ in range(5)]
        with running(model := ClosedForm(gate)) as server, ThreadPoolExecutor(5) as pool:
            for place, stage_id in enumerate(ids):
                pool.submit(server.finish, stage_body(), stage_id)
                until(lambda place=place: server.health()["queue"] == place and gate.held == 1)
            gate.open_for_good()
            until(lambda: len(server.logged) == 5)
            assert [entry["id"] for entry in server.logged] == ids
            assert model.calls["velocity"] == 10

    def test_when_it_is_full_says_503_and_bad_requests_still_learn_what_is_wrong(self):
        gate = Gate()
        stage_id, body = fresh_id(), stage_body()
        with (
            running(ClosedForm(gate), limits=limited(queue=1)) as server,
            server.put(body, stage_id) as first,
            server.put(stage_body()) as second,
        ):
            second.until("queued")
            refusal = server.refuse(stage_body())
            assert (refusal.status_code, refusal.json()["code"]) == (503, "queue_full")
            assert 1 <= int(refusal.headers["retry-after"]) <= 30
            assert server.refuse(stage_body(quality=0)).json()["code"] == "bad_metadata"
            with server.put(body, stage_id) as attached:
                gate.open_for_good()
                assert attached.all() == first.all()

    def test_a_picture_is_drawn_beside_the_next_stages_steps(self):
        gate = Gate("decode")
        with (
            running(model := ClosedForm(gate)) as server,
            server.put(stage_body(**IMAGE)) as first,
            server.put(stage_body(sigmas=even_sigmas(5))) as second,
        ):
            first.until("step")
            until(lambda: gate.held)
            steps = second.events()
            for _ in range(5):
                assert next(event for event in steps if event["event"] != "queued")["event"] == "step"
            assert model.calls["velocity"] == 6
            gate.open_for_good()
            assert next(steps)["event"] == "done"

    def test_no_more_stages_wait_for_their_picture_than_may(self):
        gate = Gate("decode")
        with (
            running(model := ClosedForm(gate), limits=limited(pictures=2)) as server,
            ThreadPoolExecutor(4) as pool,
        ):
            done = [pool.submit(server.finish, stage_body(**IMAGE)) for _ in range(4)]
            until(lambda: model.calls["velocity"] == 2)
            time.sleep(0.1)
            assert model.calls["velocity"] == 2
            gate.open_for_good()
            assert {len(answer.result(PATIENCE_S)[1]["image"].shape) for answer in done} == {1}
            assert model.calls["velocity"] == 4


class TestALatePreview:
    @pytest.mark.parametrize("rgb", [False, True])
    def test_is_the_picture_of_the_result_it_comes_behind(self, rgb: bool):
        with running(ClosedForm()) as server:
            with server.put(stage_body(**LATE | {"rgb": rgb})) as answer:
                done = answer.until("done")
                result = answer.tensors
                last = answer.all()
                preview = answer.tensors
            together, tensors = server.finish(stage_body(**LATE | {"rgb": rgb, "late_preview": False}))
        assert names(last) == ["preview"]
        assert (list(result), list(preview)) == (["latents", "rgb"] if rgb else ["latents"], ["preview"])
        for name, tensor in (result | preview).items():
            numpy.testing.assert_array_equal(tensor, tensors[name])
        assert together["encode_ms"] > 0
        # each millisecond is told once, by the message that had to wait for it
        assert (done["decode_ms"] > 0, done["encode_ms"]) == (rgb, 0)
        assert (last[0]["decode_ms"] > 0, last[0]["encode_ms"] > 0) == (not rgb, True)

    def test_of_another_stage_is_not_waited_for_by_a_result(self):
        gate = Gate("decode")
        with (
            running(ClosedForm(gate)) as server,
            server.put(stage_body(**LATE)) as first,
            server.put(stage_body(**LATE)) as second,
        ):
            first.until("done")
            until(lambda: gate.held)
            second.until("done")
            assert server.health()["status"] == "busy"
            gate.open_for_good()
            assert names(first.all()) == names(second.all()) == ["preview"]
            until(lambda: server.health()["status"] == "ready")

    def test_that_fails_is_an_error_behind_a_result_that_stands(self):
        def fails(part: str) -> None:
            if part == "decode":
                raise RuntimeError("out of memory")

        stage_id, body = fresh_id(), stage_body(**LATE)
        with running(model := ClosedForm(fails)) as server:
            for _ in range(2):
                with server.put(body, stage_id) as answer:
                    events = answer.all()
                assert names(events) == ["step", "done", "error"]
                assert events[-1]["code"] == "model_failed"
            assert (model.calls["velocity"], model.calls["decode"]) == (1, 1)
            (entry,) = server.logged
            assert entry.items() >= {"outcome": "done", "preview": "failed", "id": stage_id}.items()

    def test_is_given_up_with_a_delete_which_forgets_the_result_too(self):
        gate = Gate("decode")
        stage_id, body = fresh_id(), stage_body(**LATE)
        with running(model := ClosedForm(gate)) as server:
            with server.put(body, stage_id) as answer:
                answer.until("done")
                until(lambda: gate.held)
                assert server.delete(stage_id) == 204
                assert [event["code"] for event in answer.all()] == ["cancelled"]
            gate.open_for_good()
            with server.put(body, stage_id) as again:
                assert names(again.all())[-2:] == ["done", "preview"]
            assert model.calls["velocity"] == 2

    def test_with_nobody_reading_is_given_up_after_a_while_and_the_result_is_kept(self):
        gate = Gate("decode")
        stage_id, body = fresh_id(), stage_body(**LATE)
        with running(model := ClosedForm(gate), limits=limited(orphan_s=0.05)) as server:
            with server.put(body, stage_id) as answer:
                answer.until("done")
            until(lambda: server.logged)
            gate.open_for_good()
            with server.put(body, stage_id) as again:
                events = again.all()
            assert names(events) == ["step", "done", "error"]
            assert events[-1]["code"] == "orphaned"
            assert model.calls["velocity"] == 1

    def test_is_waited_for_when_the_server_shuts_down_for_as_long_as_a_stage_is(self):
        for drain_s, ends in ((PATIENCE_S, "preview"), (0.05, "error")):
            gate = Gate("decode")
            with (
                running(model := ClosedForm(gate), limits=ServerLimits(drain_s=drain_s)) as server,
                server.put(stage_body(**LATE)) as answer,
            ):
                answer.until("done")
                until(lambda gate=gate: gate.held)
                closing = server.schedule(server.server.close())
                if ends == "error":
                    assert names(answer.all()) == ["error"]
                assert not model.is_closed
                gate.open_for_good()
                if ends == "preview":
                    assert names(answer.all()) == ["preview"]
                closing.result(PATIENCE_S)
                assert server.logged[-1]["outcome"] == "done"


class TestReaders:
    def test_two_follow_at_once_from_the_start_and_read_the_same(self):
        gate = Gate()
        stage_id, body = fresh_id(), stage_body(sigmas=even_sigmas(10))
        with running(model := ClosedForm(gate)) as server, server.put(body, stage_id) as first:
            gate.open(4)
            events = first.events()
            for _ in range(4):
                next(events)
            with server.put(body, stage_id) as second, server.put(body, stage_id) as third:
                gate.open_for_good()
                assert second.all() == third.all()
                numpy.testing.assert_array_equal(second.tensors["latents"], third.tensors["latents"])
                assert len(list(events)) == 7
            assert model.calls["velocity"] == 10

    def test_the_same_id_with_another_body_is_a_conflict_running_or_kept(self):
        gate = Gate()
        stage_id = fresh_id()
        with running(ClosedForm(gate)) as server, server.put(stage_body(), stage_id) as answer:
            until(lambda: gate.held)
            for _ in range(2):
                refusal = server.refuse(stage_body(quality=81), stage_id)
                assert refusal.status_code == 409
                assert (refusal.json()["code"], refusal.json()["field"]) == ("stage_conflict", "id")
                gate.open_for_good()
                answer.all()

    def test_a_slow_one_holds_up_nobody_and_finds_everything_when_it_reads_on(self):
        stage_id, body = fresh_id(), stage_body(layout="full", sigmas=even_sigmas(1000))
        with running(ClosedForm()) as server, server.connect() as slow:
            slow.sendall(raw_request(body, stage_id))
            until(lambda: server.logged)
            with server.put(body, stage_id) as answer:
                assert names(answer.all()) == ["step"] * 1000 + ["done"]
            raw = bytearray()
            while not raw.endswith(b"\r\n0\r\n\r\n"):
                raw += slow.recv(1 << 16)
        assert raw.count(b'"event":"step"') == 1000
        assert raw.count(b'"event":"done"') == 1

    def test_one_that_takes_nothing_at_all_is_let_go(self):
        # an answer that no socket's buffers hold
        size = {"width": 2048, "height": 2048}
        model = ClosedForm(sizes=[size], max_tokens=128 * 128)
        img_ids, scale = tokens_of("full", **size)
        tensors = {"img_ids": img_ids, "scale": scale, "latents": seeded_latents(len(scale))}
        stage_id, body = fresh_id(), stage_body(sigmas=[1, 0], tensors=tensors, decode="clean", **size)
        with running(model, limits=ServerLimits(reader_s=0.2, drain_s=1)) as server:
            with server.connect() as stuck:
                stuck.sendall(raw_request(body, stage_id))
                until(lambda: server.logged)
                stage = server.server._stages.find(stage_id)
                until(lambda: stage.readers == 0)
            assert server.finish(body, stage_id)[1]["rgb"].shape == (2048, 2048, 3)


class TestCancelling:
    def test_one_that_runs_stops_at_its_next_step_and_frees_its_id_at_once(self):
        gate = Gate()
        stage_id, body = fresh_id(), stage_body(sigmas=even_sigmas(100))
        with running(model := ClosedForm(gate)) as server, server.put(body, stage_id) as answer:
            until(lambda: gate.held)
            assert server.delete(stage_id) == 204
            assert server.delete(stage_id) == 404
            # the same request runs again while the old step still computes
            with server.put(body, stage_id) as again:
                events = answer.all()
                assert events[-1].items() >= {"event": "error", "code": "cancelled", "retryable": False}.items()
                gate.open_for_good()
                assert again.all()[-1]["steps_done"] == 100
            assert model.calls["velocity"] == 101

    def test_one_that_waits_leaves_the_line(self):
        gate = Gate()
        stage_id = fresh_id()
        with (
            running(model := ClosedForm(gate)) as server,
            server.put(stage_body()) as first,
            server.put(stage_body(), stage_id) as second,
            server.put(stage_body()) as third,
        ):
            third_events = third.events()
            assert next(third_events)["position"] == 2
            assert server.delete(stage_id) == 204
            assert names(second.all()) == ["queued", "error"]
            assert next(third_events)["position"] == 1
            gate.open_for_good()
            assert list(third_events)[-1]["event"] == first.all()[-1]["event"] == "done"
            assert model.calls["velocity"] == 4

    def test_one_in_its_last_step_is_not_decoded_and_not_also_done(self):
        gate = Gate()
        stage_id = fresh_id()
        with running(model := ClosedForm(gate)) as server, server.put(stage_body(**IMAGE), stage_id) as answer:
            until(lambda: gate.held)
            server.delete(stage_id)
            gate.open_for_good()
            assert names(answer.all()) == ["error"]
            until(lambda: server.health()["status"] == "ready")
            assert (model.calls["velocity"], model.calls["decode"]) == (1, 0)
            assert [entry["outcome"] for entry in server.logged] == ["cancelled"]

    def test_one_being_decoded_is_not_also_done(self):
        gate = Gate("decode")
        stage_id = fresh_id()
        with running(ClosedForm(gate)) as server, server.put(stage_body(**IMAGE), stage_id) as answer:
            until(lambda: gate.held)
            assert server.delete(stage_id) == 204
            gate.open_for_good()
            assert names(answer.all()) == ["step", "error"]
            until(lambda: server.health()["status"] == "ready")
            assert server.delete(stage_id) == 404

    def test_a_kept_result_is_forgotten(self):
        stage_id = fresh_id()
        with running(model := ClosedForm()) as server:
            server.finish(stage_body(), stage_id)
            assert server.delete(stage_id) == 204
            assert server.delete(stage_id) == 404
            server.finish(stage_body(), stage_id)
            assert model.calls["velocity"] == 4

    def test_its_prompt_is_forgotten_with_it_also_where_its_result_is_gone(self):
        first, second = fresh_id(), fresh_id()
        with running(model := ClosedForm(), limits=limited(keep_s=0.05)) as server:
            server.finish(stage_body(), first)
            assert server.delete(first) == 204
            server.finish(stage_body(), second)
            until(lambda: len(model.unused_s) == 2 and server.server._stages.find(second) is None)
            assert server.delete(second) == 404
        assert model.forgotten == [first, second]
        assert set(model.unused_s) == {0.05}

    def test_an_unknown_one_is_said_to_be_unknown(self):
        with running(ClosedForm()) as server:
            refusal = server.client.delete(f"/v1/stages/{fresh_id()}")
            assert refusal.status_code == 404
            assert (refusal.json()["code"], refusal.json()["field"]) == ("unknown_stage", "id")


class TestWithNobodyReading:
    def test_a_stage_stops_after_a_while_and_is_forgotten(self):
        def slowly(part: str) -> None:
            time.sleep(0.005)

        stage_id, body = fresh_id(), stage_body(sigmas=even_sigmas(400))
        with running(model := ClosedForm(slowly), limits=limited(orphan_s=0.05)) as server:
            with server.put(body, stage_id) as answer:
                answer.until("step")
            until(lambda: server.logged)
            assert server.logged[-1].items() >= {"id": stage_id, "outcome": "orphaned"}.items()
            until(lambda: server.health()["status"] == "ready")
            assert model.calls["velocity"] < 300
            assert server.delete(stage_id) == 404

    def test_a_waiting_stage_stops_just_so(self):
        gate = Gate()
        with (
            running(model := ClosedForm(gate), limits=limited(orphan_s=0.05)) as server,
            server.put(stage_body()) as first,
        ):
            with server.put(stage_body()) as second:
                second.until("queued")
            until(lambda: server.logged)
            assert server.logged[-1].items() >= {"outcome": "orphaned", "steps_done": 0}.items()
            gate.open_for_good()
            first.all()
            assert model.calls["velocity"] == 2

    def test_who_comes_back_in_time_keeps_it_alive(self):
        gate = Gate()
        stage_id, body = fresh_id(), stage_body(sigmas=even_sigmas(3))
        with running(ClosedForm(gate), limits=limited(orphan_s=0.3)) as server:
            with server.put(body, stage_id) as answer:
                gate.open()
                answer.until("step")
            with server.put(body, stage_id) as back:
                time.sleep(0.6)
                gate.open_for_good()
                assert back.all()[-1]["steps_done"] == 3

    def test_clients_that_vanish_before_their_answer_began_leave_no_stage_behind(self):
        gate = Gate()
        body = stage_body()
        with running(ClosedForm(gate), limits=limited(orphan_s=0.05)) as server:
            for _ in range(5):
                with server.connect() as line:
                    line.sendall(raw_request(body, fresh_id()))
            until(lambda: len(server.logged) == 5)
            assert {entry["outcome"] for entry in server.logged} == {"orphaned"}
            gate.open_for_good()
            until(lambda: server.health().items() >= {"status": "ready", "queue": 0}.items())


class TestKeeping:
    def test_a_result_is_forgotten_when_its_time_is_over(self):
        stage_id = fresh_id()
        with running(ClosedForm(), limits=limited(keep_s=0.2)) as server:
            server.finish(stage_body(), stage_id)
            time.sleep(0.4)
            assert server.delete(stage_id) == 404

    def test_the_oldest_go_first_when_there_are_too_many_bytes_of_them(self):
        ids = [fresh_id() for _ in range(6)]
        with running(ClosedForm(), limits=limited(keep_bytes=6000)) as server:
            for stage_id in ids:
                server.finish(stage_body(), stage_id)
            known = [server.delete(stage_id) == 204 for stage_id in ids]
        assert known == sorted(known)
        assert (known[0], known[-1]) == (False, True)

    def test_an_error_is_never_kept(self):
        left = [1]

        def fail_once(part: str) -> None:
            if part == "velocity" and left:
                left.pop()
                raise RuntimeError("out of memory")

        stage_id, body = fresh_id(), stage_body()
        with running(ClosedForm(fail_once)) as server:
            with server.put(body, stage_id) as answer:
                assert answer.all()[-1]["event"] == "error"
            assert server.finish(body, stage_id)[1]["latents"].shape == (8, 16)


class TestFailing:
    @pytest.mark.parametrize("part", ["text", "velocity", "decode"])
    def test_a_model_that_throws_is_told_as_retryable_and_the_server_lives_on(self, part):
        left = [1]

        def fail_once(called: str) -> None:
            if called == part and left:
                left.pop()
                raise MemoryError('no memory near "a red apple"')

        stage_id, body = fresh_id(), stage_body(decode="clean")
        with running(ClosedForm(fail_once)) as server:
            with server.put(body, stage_id) as answer:
                assert answer.all()[-1] == {
                    "event": "error",
                    "code": "model_failed",
                    "message": f"the model failed in {part}",
                    "retryable": True,
                }
            assert server.logged[-1]["outcome"] == "failed"
            assert server.logged[-1]["error"].startswith(f"{part}: MemoryError")
            if part == "text":
                assert "apple" not in json.dumps(server.logged)
            assert server.finish(body, stage_id)[1]["latents"].shape == (8, 16)

    def test_a_fault_outside_the_models_parts_is_no_different(self):
        class Broken(ClosedForm):
            def denoise(self, job, on_step, should_stop):
                raise KeyError(job.options.prompt)

        with running(Broken()) as server, server.put(stage_body()) as answer:
            last = answer.all()[-1]
            assert last.items() >= {"event": "error", "code": "model_failed", "retryable": True}.items()
            assert server.logged[-1]["error"] == "KeyError"
            assert "apple" not in json.dumps(server.logged) + last["message"]

    def test_a_model_that_answers_nan_is_told_as_final(self):
        class Broken(ClosedForm):
            def denoise(self, job, on_step, should_stop):
                job.latents[:] = numpy.nan
                return super().denoise(job, on_step, should_stop)

        with running(Broken()) as server, server.put(stage_body()) as answer:
            assert answer.all()[-1].items() >= {"code": "not_finite", "retryable": False}.items()


class TestPrompts:
    @pytest.mark.parametrize("prompt", ["red " * 7500, "一只红苹果" * 6000, "", "🦊\u0000\n"])
    def test_of_any_length_and_script_reach_the_model_whole(self, prompt):
        with running(model := ClosedForm()) as server:
            done = server.finish(stage_body(sigmas=[1, 0], prompt=prompt))[0]
            assert model.prompts == [prompt]
            assert done["text_tokens"] <= 6
            assert all(len(warning) <= 2000 for warning in done["warnings"])
            assert prompt == "" or prompt not in json.dumps(server.logged, ensure_ascii=False)

    def test_enter_no_log_and_no_refusal(self):
        with running(ClosedForm()) as server:
            server.finish(stage_body(prompt="a secret apple"))
            refusal = server.refuse(stage_body(prompt="a secret apple", sigmas=[1]))
            server.refuse(stage_body(negative_prompt="a secret pear"))
            assert "secret" not in refusal.text
            assert "secret" not in json.dumps(server.logged)
            assert TOKEN not in json.dumps(server.logged)


class TestTheLog:
    def test_has_one_line_a_stage_and_one_a_refusal(self):
        stage_id = fresh_id()
        with running(ClosedForm()) as server:
            server.finish(stage_body(), stage_id)
            server.refuse(stage_body(sigmas=[1]), stage_id := fresh_id())
            stage, refused = server.logged
        assert stage.pop("id")
        assert stage.pop("ms") >= 0
        assert stage == {
            "event": "stage",
            "model": "closed-form",
            "tokens": 8,
            "steps": 2,
            "steps_done": 2,
            "outcome": "done",
            "trace_id": TRACE,
        }
        assert refused == {
            "event": "refused",
            "id": stage_id,
            "status": 422,
            "code": "out_of_range",
            "field": "sigmas",
        }


class TestTheToken:
    def test_is_needed_in_one_of_two_headers(self):
        right = [{"authorization": f"Bearer {TOKEN}"}, {"x-stage-token": TOKEN}]
        wrong = [
            {},
            {"authorization": TOKEN},
            {"authorization": "Bearer wrong"},
            {"authorization": f"Bearer {TOKEN}x"},
            {"authorization": "Bearer"},
            {"x-stage-token": ""},
            {"x-stage-token": f"Bearer {TOKEN}"},
            {"x-stage-token": "wrong"},
        ]
        with running(ClosedForm()) as server, httpx.Client(base_url=server.url) as client:
            for headers in right:
                assert client.get("/v1/models", headers=headers).status_code == 200
            # a gateway's own bearer beside ours
            both = {"authorization": "Bearer a gateway's", "x-stage-token": TOKEN}
            assert client.get("/v1/models", headers=both).status_code == 200
            for headers in wrong:
                for method, path in [
                    ("GET", "/v1/models"),
                    ("GET", "/metrics"),
                    ("PUT", "/v1/stages/x"),
                    ("DELETE", "/v1/stages/x"),
                    ("GET", "/no/such/route"),
                    ("POST", "/v1/models"),
                ]:
                    refusal = client.request(method, path, headers=headers)
                    assert (refusal.status_code, refusal.json()["code"]) == (401, "unauthorized")
                    assert refusal.headers["www-authenticate"] == "Bearer"

    def test_is_not_needed_by_health_checks(self):
        with running(ClosedForm()) as server:
            anybody = httpx.get(f"{server.url}/healthz")
            assert (anybody.status_code, anybody.json()) == (200, {"status": "ready", "version": "0.1.0"})
            assert httpx.get(f"{server.url}/ping").status_code == 200

    def test_comes_before_the_body(self):
        with running(ClosedForm()) as server:
            answer = httpx.put(f"{server.url}/v1/stages/x", content=stage_body())
            assert answer.status_code == 401


class TestRoutes:
    def test_of_no_kind_are_not_found_as_json(self):
        with running(ClosedForm()) as server:
            for method, path in [
                ("GET", "/"),
                ("GET", "/healthz/"),
                ("POST", "/v1/models"),
                ("GET", "/v1/stages/x"),
                ("PUT", "/v1/stages/"),
                ("GET", "/v1/stages/x/y"),
                ("POST", "/healthz"),
            ]:
                answer = server.client.request(method, path)
                assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path

    @pytest.mark.parametrize("stage_id", [".hidden", "sp%20ace", "a" * 201, "%00", "%C3%A4", "a%0A"])
    def test_an_id_it_could_not_keep_is_refused(self, stage_id):
        with running(ClosedForm()) as server:
            refusal = server.refuse(stage_body(), stage_id)
            assert (refusal.status_code, refusal.json()["code"], refusal.json()["field"]) == (400, "bad_id", "id")

    def test_the_models_say_what_they_are(self):
        other = {"id": "other", "aliases": [], "family": "flux.2", "caches": ["taylor_blocks"], "upsampling": ["token"]}
        with running(ClosedForm(), ClosedForm(**other)) as server:
            listed = server.client.get("/v1/models").json()
        assert listed["contract"] == {
            "version": 6,
            "features": [
                "account_tag",
                "solver.ab2",
                "clean_latents",
                "late_preview",
                "enlarge",
                "thumbnail",
                "cache.taylor_velocity",
                "cache.taylor_blocks",
            ],
        }
        served = {"engine_class": "closed-form/1 cpu", "deterministic": True}
        assert listed["models"] == [FACTS | served, FACTS | other | served]

    def test_the_counters_count(self):
        with running(ClosedForm()) as server:
            server.finish(stage_body(sigmas=even_sigmas(3)))
            server.refuse(stage_body(sigmas=[1]))
            answer = server.client.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain")
            samples = {
                (sample.name, *sample.labels.values()): sample.value
                for family in text_string_to_metric_families(answer.text)
                for sample in family.samples
            }
        seconds = samples.pop(("stage_compute_seconds_total", "closed-form"))
        assert 0 < seconds < 10
        assert samples == {
            ("stage_finished_total", "closed-form", "done"): 1,
            ("stage_steps_total", "closed-form"): 3,
            ("stage_tokens_total", "closed-form"): 24,
            ("stage_queue_length",): 0,
            ("stage_running",): 0,
        }


class TestTheBody:
    def test_said_to_be_over_the_limit_is_refused_before_it_is_sent(self):
        with running(ClosedForm()) as server, server.connect() as line:
            line.sendall(raw_request(b"12345678", length=MAX_MESSAGE_BYTES + 1))
            assert line.recv(4096).startswith(b"HTTP/1.1 413 ")

    def test_that_grows_over_the_limit_is_refused(self):
        limits = ServerLimits(bodies=BodyLimits(bytes=1000), drain_s=1)
        with running(ClosedForm(), limits=limits) as server:
            refusal = server.client.put("/v1/stages/x", content=iter([b"a" * 600, b"b" * 600]))
            assert (refusal.status_code, refusal.json()["code"]) == (413, "too_large")

    def test_may_come_in_pieces(self):
        body = stage_body()
        with running(ClosedForm()) as server:
            pieces = (body[at : at + 100] for at in range(0, len(body), 100))
            answer = server.client.put("/v1/stages/x", content=pieces)
            assert answer.status_code == 200
            assert server.finish(body, "x")[1]["latents"].shape == (8, 16)

    def test_of_a_client_that_vanishes_begins_nothing(self):
        body = stage_body()
        with running(model := ClosedForm()) as server:
            with server.connect() as line:
                line.sendall(raw_request(body[: len(body) // 2], "x", len(body)))
            until(lambda: server.logged)
            assert server.logged[-1] == {"event": "refused", "id": "x", "status": 400, "code": "broken_body"}
            assert model.calls["velocity"] == 0
            server.finish(body, "x")

    def test_that_falls_silent_is_let_go_as_transient(self):
        limits = ServerLimits(bodies=BodyLimits(idle_s=0.1), drain_s=1)
        with running(ClosedForm(), limits=limits) as server, server.connect() as line:
            line.sendall(raw_request(b"12345678", length=100))
            answer = bytearray()
            while piece := line.recv(4096):
                answer += piece
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"broken_body"' in answer

    def test_that_drips_is_let_go_too(self):
        limits = ServerLimits(bodies=BodyLimits(total_s=0.2), drain_s=1)

        def drip():
            for _ in range(100):
                time.sleep(0.02)
                yield b"a"

        with running(ClosedForm(), limits=limits) as server:
            try:
                status = server.client.put("/v1/stages/x", content=drip()).status_code
            except httpx.WriteError:
                status = 408  # the answer came while this client wrote
            assert status == 408
            assert server.logged[-1]["status"] == 408

    def test_too_many_at_once_are_busy(self):
        limits = ServerLimits(bodies=BodyLimits(bytes=4000, bytes_together=4500), drain_s=1)
        with running(ClosedForm(), limits=limits) as server:
            with server.connect() as line:
                line.sendall(raw_request(b"", length=4000))
                until(lambda: server.server._bodies._claimed == 4000)
                refusal = server.refuse(stage_body())
                assert (refusal.status_code, refusal.json()["code"]) == (503, "queue_full")
                assert refusal.headers["retry-after"] == "1"
            until(lambda: server.server._bodies._claimed == 0)
            server.finish(stage_body())


class TestStartingAndStopping:
    def test_before_the_models_are_there_it_says_so(self):
        with running(is_open=False) as server:
            health = server.client.get("/healthz")
            assert (health.status_code, health.json()["status"]) == (503, "starting")
            assert server.client.get("/ping").status_code == 204
            for answer in [server.client.get("/v1/models"), server.refuse(stage_body())]:
                assert (answer.status_code, answer.json()["code"]) == (503, "starting")
                assert answer.headers["retry-after"] == "2"
            assert server.delete("x") == 404
            assert server.client.get("/metrics").status_code == 200

            async def open_() -> None:
                server.server.open([ClosedForm()])

            server.call(open_())
            assert server.health()["status"] == "ready"
            assert server.client.get("/ping").status_code == 200
            server.finish(stage_body())

    def test_draining_it_finishes_what_runs_and_sends_off_who_waits(self):
        gate = Gate()
        stage_id, body = fresh_id(), stage_body()
        model = ClosedForm(gate)
        with (
            running(model, limits=ServerLimits(drain_s=PATIENCE_S)) as server,
            server.put(body, stage_id) as running_,
            server.put(stage_body()) as waiting,
        ):
            waiting_events = waiting.events()
            assert next(waiting_events)["event"] == "queued"
            closed = server.schedule(server.server.close())
            assert next(waiting_events).items() >= {"code": "draining", "retryable": True}.items()
            health = server.client.get("/healthz")
            assert (health.status_code, health.json()["status"]) == (503, "draining")
            assert server.client.get("/ping").status_code == 503
            refusal = server.refuse(stage_body())
            assert (refusal.status_code, refusal.json()["code"]) == (503, "draining")
            assert refusal.headers["retry-after"] == "30"
            with server.put(body, stage_id) as attached:
                assert not model.is_closed
                gate.open_for_good()
                closed.result(PATIENCE_S)
                assert model.is_closed
                assert running_.all()[-1]["steps_done"] == attached.all()[-1]["steps_done"] == 2

    def test_draining_for_too_long_it_stops_what_runs(self):
        def slowly(part: str) -> None:
            time.sleep(0.01)

        with (
            running(model := ClosedForm(slowly), limits=ServerLimits(drain_s=0.05)) as server,
            server.put(stage_body(sigmas=even_sigmas(900))) as answer,
        ):
            answer.until("step")
            server.call(server.server.close())
            assert server.logged[-1]["outcome"] == "drained"
            assert model.is_closed
            assert model.calls["velocity"] < 900

    def test_draining_it_finishes_the_picture_too(self):
        gate = Gate("decode")
        with (
            running(ClosedForm(gate), limits=ServerLimits(drain_s=PATIENCE_S)) as server,
            server.put(stage_body(**IMAGE)) as answer,
        ):
            until(lambda: gate.held)
            closed = server.schedule(server.server.close())
            gate.open_for_good()
            closed.result(PATIENCE_S)
            assert answer.all()[-1]["event"] == "done"

    def test_mistakes_are_errors(self):
        async def make(token: str) -> StageServer:
            return StageServer(token)

        with pytest.raises(ValueError, match="empty"):
            asyncio.run(make(""))
        server = asyncio.run(make("x"))
        with pytest.raises(ValueError, match="two models are called closed-form"):
            server.open([ClosedForm(), ClosedForm()])
        with pytest.raises(ValueError, match="two models are called cf"):
            server.open([ClosedForm(), ClosedForm(id="other")])
        with pytest.raises(ValueError, match="channels"):
            server.open([ClosedForm(channels=0)])
