"""The real server on a port of this process, and clients of it."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from stage_requests import fresh_id

from ralu_stage.contract.message import Message, decode_messages
from ralu_stage.model import Model
from ralu_stage.serve.app import ServerLimits, StageServer
from ralu_stage.serve.listen import listen

TOKEN = "a token for tests"
# slower machines wait longer; nothing waits as long as this
PATIENCE_S = 30


class Gate:
    """Holds a model before one of its parts: `open(n)` lets n calls through, `open_for_good` all."""

    def __init__(self, part: str = "velocity") -> None:
        self._part = part
        self._is_open = threading.Event()
        self._free = threading.Semaphore(0)
        self.held = 0

    def __call__(self, part: str) -> None:
        if part != self._part or self._is_open.is_set():
            return
        self.held += 1
        while not self._free.acquire(timeout=0.005):
            if self._is_open.is_set():
                break
        self.held -= 1

    def open(self, count: int = 1) -> None:
        self._free.release(count)

    def open_for_good(self) -> None:
        self._is_open.set()


class Answer:
    """An answer as it comes: events with their values parsed, and the last message's tensors."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.tensors: dict[str, Any] = {}
        self._events = self._read()

    def events(self) -> Iterator[dict[str, Any]]:
        """The events that nobody took yet, each as soon as its last byte is there."""
        return self._events

    def until(self, kind: str) -> dict[str, Any]:
        """The next event of this kind."""
        for event in self._events:
            if event["event"] == kind:
                return event
        raise AssertionError(f"the answer ended without {kind}")

    def all(self) -> list[dict[str, Any]]:
        return list(self._events)

    def _read(self) -> Iterator[dict[str, Any]]:
        rest = bytearray()
        for chunk in self.response.iter_raw():
            rest += chunk
            while message := _take_message(rest):
                self.tensors = dict(message.tensors)
                yield parse_event(message)
        assert not rest


def parse_event(message: Message) -> dict[str, Any]:
    texts = {"event", "engine", "model_digest", "code", "message"}
    return {key: value if key in texts else json.loads(value) for key, value in message.metadata.items()}


def _take_message(rest: bytearray) -> Message | None:
    if len(rest) < 8:
        return None
    header_bytes = int.from_bytes(rest[:8], "little")
    if len(rest) < 8 + header_bytes:
        return None
    header = json.loads(bytes(rest[8 : 8 + header_bytes]))
    ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    length = 8 + header_bytes + max(ends, default=0)
    if len(rest) < length:
        return None
    (message,) = decode_messages(bytes(rest[:length]))
    del rest[:length]
    return message


@dataclass
class Running:
    """A server that runs, and what it logged."""

    url: str
    server: StageServer
    logged: list[dict[str, Any]]
    client: httpx.Client
    call: Callable[[Any], Any]
    """runs a coroutine on the server's loop; its result"""
    schedule: Callable[[Any], Any]
    """starts one there; its future"""

    @contextmanager
    def put(self, body: bytes, stage_id: str | None = None, **options: Any) -> Iterator[Answer]:
        """An answer to be read; the line is cut at the end."""
        path = f"/v1/stages/{stage_id or fresh_id()}"
        with self.client.stream("PUT", path, content=body, **options) as response:
            assert response.status_code == 200, response.read()
            yield Answer(response)

    def finish(self, body: bytes, stage_id: str | None = None) -> tuple[dict[str, Any], dict[str, Any]]:
        """A stage run to its end: its event `done`, and the tensors with it."""
        with self.put(body, stage_id) as answer:
            last = answer.all()[-1]
            assert last["event"] == "done", last
        return last, answer.tensors

    def refuse(self, body: bytes, stage_id: str | None = None) -> httpx.Response:
        response = self.client.put(f"/v1/stages/{stage_id or fresh_id()}", content=body)
        assert response.status_code != 200
        return response

    def delete(self, stage_id: str) -> int:
        return self.client.delete(f"/v1/stages/{stage_id}").status_code

    def health(self) -> dict[str, Any]:
        return self.client.get("/healthz").json()

    def connect(self) -> socket.socket:
        """A connection for bytes of one's own."""
        url = httpx.URL(self.url)
        return socket.create_connection((url.host, url.port), timeout=PATIENCE_S)


def until(is_true: Callable[[], Any], patience_s: float = PATIENCE_S) -> None:
    """Waits until something is true."""
    end = time.monotonic() + patience_s
    while not is_true():
        assert time.monotonic() < end, "it never became true"
        time.sleep(0.005)


@contextmanager
def running(*models: Model, limits: ServerLimits | None = None, is_open: bool = True) -> Iterator[Running]:
    """The server with these models on a free port; `is_open` False leaves it starting."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    def schedule(work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop)

    def call(work: Any) -> Any:
        return schedule(work).result(PATIENCE_S)

    logged: list[dict[str, Any]] = []

    async def start() -> tuple[StageServer, Any]:
        server = StageServer(TOKEN, limits or ServerLimits(drain_s=1), logged.append)
        if is_open:
            server.open(models)
        return server, await listen(server, "127.0.0.1", 0, 1)

    server, listening = call(start())
    headers = {"authorization": f"Bearer {TOKEN}"}
    try:
        with httpx.Client(base_url=listening.url, headers=headers, timeout=PATIENCE_S) as client:
            yield Running(listening.url, server, logged, client, call, schedule)
    finally:
        call(server.close())
        call(listening.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_S)
        loop.close()
