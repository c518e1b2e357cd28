"""The server as a process: flags, the ready line, signals, and models that cannot be loaded."""

from __future__ import annotations

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from running import PATIENCE_S, Answer, until
from stage_requests import even_sigmas, fresh_id, stage_body

from ralu_stage.main import main

HERE = pathlib.Path(__file__).parent
TOKEN = "a secret of the process"
CLOSED_FORM = [str(HERE / "serve_closed_form.py")]
STAGE = ["-m", "ralu_stage"]


def started(arguments: list[str], **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=HERE.parent,
        env={"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "STAGE_TOKEN": TOKEN, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, list[dict]]:
    """Its exit code, what it said, and the lines of its log."""
    try:
        said, logged = process.communicate(timeout=2 * PATIENCE_S)
    finally:
        process.kill()
    # libraries that are imported may have said something too
    return process.returncode, said, [json.loads(line) for line in logged.splitlines() if line.startswith("{")]


@contextmanager
def serving(*flags: str) -> Iterator[tuple[subprocess.Popen[str], httpx.Client]]:
    """The process with the closed-form model once it is ready, and a client of it."""
    process = started([*CLOSED_FORM, *flags])
    try:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        assert ready["event"] == "ready"
        headers = {"authorization": f"Bearer {TOKEN}"}
        with httpx.Client(base_url=ready["url"], headers=headers, timeout=PATIENCE_S) as client:
            yield process, client
    finally:
        process.kill()


@contextmanager
def put(client: httpx.Client, body: bytes) -> Iterator[Answer]:
    with client.stream("PUT", f"/v1/stages/{fresh_id()}", content=body) as response:
        yield Answer(response)


def test_is_ready_serves_and_leaves_at_once_when_idle():
    with serving() as (process, client):
        with put(client, stage_body(prompt="an apple")) as answer:
            assert answer.all()[-1]["event"] == "done"
        process.send_signal(signal.SIGINT)
        code, said, logged = ended(process)
    assert (code, said) == (0, "")
    assert [entry["event"] for entry in logged] == ["loaded", "stage", "draining"]
    assert "apple" not in json.dumps(logged)
    assert TOKEN not in json.dumps(logged)


def test_only_lines_of_json_are_logged_whatever_other_libraries_say():
    lines = [
        "import logging",
        "from ralu_stage.serve.log import LogLines, log_to_stderr",
        "LogLines(log_to_stderr).listen()",
        "logging.getLogger('asyncio').warning('socket.send() raised exception.')",
        "logging.getLogger('transformers').error('the prompt was cut: a red apple')",
        "logging.getLogger('ralu_stage.load').info('ours')",
        "logging.getLogger('uvicorn.error').warning('Invalid HTTP request received.')",
    ]
    said = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=HERE.parent, capture_output=True, text=True, check=True
    )
    assert said.stdout == ""
    logged = [json.loads(line) for line in said.stderr.splitlines()]
    assert [entry["message"] for entry in logged] == ["ours", "Invalid HTTP request received."]


def test_finishes_the_running_stage_and_sends_off_who_waits():
    with (
        serving() as (process, client),
        put(client, stage_body(sigmas=even_sigmas(500))) as running,
        put(client, stage_body()) as waiting,
    ):
        running.until("step")
        waiting.until("queued")
        process.send_signal(signal.SIGTERM)
        assert waiting.all()[-1].items() >= {"code": "draining", "retryable": True}.items()
        assert running.until("done")["steps_done"] == 500
        assert running.tensors["latents"].shape == (8, 16)
        code, _, logged = ended(process)
    assert code == 0
    assert [entry["outcome"] for entry in logged if entry["event"] == "stage"] == ["drained", "done"]


def test_leaves_at_once_at_a_second_signal():
    with serving() as (process, client), put(client, stage_body(sigmas=even_sigmas(1000))) as answer:
        answer.until("step")
        process.send_signal(signal.SIGTERM)
        until(lambda: client.get("/healthz").json()["status"] == "draining")
        process.send_signal(signal.SIGTERM)
        code, _, _ = ended(process)
        assert code == 1
        with pytest.raises(httpx.RemoteProtocolError):
            answer.until("done")


def test_leaves_while_it_loads():
    process = started([*CLOSED_FORM, "--load-s", "60", "--port", str(port := free_port())])
    try:
        until(lambda: is_up(port))
        assert httpx.get(f"http://127.0.0.1:{port}/ping").status_code == 204
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").json()["status"] == "starting"
        since = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code, said, logged = ended(process)
    finally:
        process.kill()
    assert (code, said, [entry["event"] for entry in logged]) == (0, "", ["draining"])
    assert time.monotonic() - since < 30


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code in (200, 503)
    except httpx.TransportError:
        return False


def test_says_so_when_its_port_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, said, logged = ended(started([*CLOSED_FORM, "--port", port]))
    assert (code, said) == (1, "")
    assert logged[-1]["message"] == f"cannot listen on 127.0.0.1:{port}: Address already in use"


@pytest.mark.parametrize(
    ("flags", "env", "says"),
    [
        ([], {}, "--model"),
        (["--model", "x", "--prot", "1"], {}, "--prot"),
        (["--model", "x", "--port", "70000"], {}, "--port: is 70000, expected a whole number from 0 to 65535"),
        (["--model", "x"], {"PORT": "-1"}, "--port: is -1, expected a whole number from 0 to 65535"),
        (["--model", "x", "--queue", "many"], {}, "--queue: is many, expected a whole number from 0 to 10000"),
        (["--model", "x", "--dtype", "int4"], {}, "--dtype"),
        (["--model", "x", "--quantize", "int4"], {}, "--quantize"),
        (["--model", "x", "--offload", "all"], {}, "--offload"),
        (["--model", "x", "--device", "tpu"], {}, "--device"),
        (["--model", "x", "--model", "y", "--facts", "f"], {}, "--facts"),
        (["--model", "x"], {"STAGE_TOKEN": ""}, "STAGE_TOKEN holds no token"),
        (["--model", "x"], {"STAGE_TOKEN": "schlüssel"}, "STAGE_TOKEN holds no token"),
    ],
)
def test_refuses_wrong_flags(flags, env, says, monkeypatch, capsys):
    for name, value in {"STAGE_TOKEN": TOKEN, **env}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as left:
        main(flags)
    said, logged = capsys.readouterr()
    assert (left.value.code, said) == (2, "")
    assert says in logged


def test_says_in_one_sentence_why_a_model_cannot_be_loaded(tmp_path):
    process = started([*STAGE, "--model", str(tmp_path), "--port", "0", "--device", "cpu"])
    code, said, logged = ended(process)
    assert (code, said) == (1, "")
    assert logged[-1]["event"] == "failed"
    assert logged[-1]["message"].startswith("the models cannot be loaded: ")
    assert "\n" not in logged[-1]["message"]
