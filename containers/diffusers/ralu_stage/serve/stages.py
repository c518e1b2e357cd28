"""The stages of one server, by id: who waits, who computes, who reads, whose result is kept.

  start → [queued] → denoising → drawing → done → [late preview] → kept for a while → forgotten
             └───────────┴───────────┴───→ cancelled, orphaned, drained or failed: forgotten at once,
                                           so the same request runs again

Once `done` is told the result stands. A late preview that comes to nothing after it is told as an error and kept with
it; only being cancelled forgets both. Until the preview is out, the stage computes.

A stage is a growing list of encoded messages; readers hold an index into it, so a slow one costs nothing and blocks
nobody. All of this lives on the event loop; only `Model.denoise` runs in the thread that owns the device, and
pictures are drawn in a second one, beside the next stage's steps. A result without a picture waits for neither.
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import AsyncIterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from ralu_stage.contract import events
from ralu_stage.contract.facts import ModelFacts
from ralu_stage.contract.message import Message, encode_message
from ralu_stage.contract.request import StageJob
from ralu_stage.model import Denoised, Look, Model, ModelFailed, NotFinite, Stopped
from ralu_stage.picture.colours import Colours
from ralu_stage.serve.draw import decodes_for_result, draw_preview, draw_result
from ralu_stage.serve.log import Log
from ralu_stage.serve.metrics import Metrics
from ralu_stage.serve.thumbnail import Thumbnail, make_thumbnail

_STOPPED = {
    "cancelled": events.error("cancelled", "the stage was cancelled", False),
    "orphaned": events.error("orphaned", "nobody read the stage any more", True),
    "drained": events.error("draining", "the server shuts down", True),
}
_MAX_EVIDENCE = 500


@dataclass(frozen=True)
class StageLimits:
    """What one server allows itself. Seconds, and bytes."""

    queue: int = 16
    """stages that may wait"""
    keep_s: float = 600
    """how long a result is kept, and an encoded prompt after its last use"""
    keep_bytes: int = 256 * 1024 * 1024
    """results kept, together; the oldest go first"""
    orphan_s: float = 30
    """how long a stage goes on with nobody reading"""
    alive_s: float = 10
    """longest silence towards a reader of a stage without a step"""
    pictures: int = 2
    """stages whose steps are done and whose picture is not; the next stage waits while there are as many"""


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model with its facts once they are checked."""

    model: Model
    facts: ModelFacts


@dataclass(frozen=True)
class Threads:
    """Executors of one thread each, so that what comes first ends first. Who made them ends them."""

    device: Executor
    """owns the device"""
    results: Executor
    """writes results that wait for no picture"""
    pictures: Executor
    """draws"""
    thumbnails: Executor
    """draws what nobody waits for"""

    def shutdown(self) -> None:
        for thread in (self.results, self.pictures, self.thumbnails, self.device):
            thread.shutdown(wait=False)


class QueueFull(Exception):
    """As many stages wait as may; `retry_after_s` says when to come again."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"the queue is full for {retry_after_s} s")
        self.retry_after_s = retry_after_s


@dataclass(eq=False)
class Stage:
    """One stage as its readers see it."""

    id: str
    digest: str
    """SHA-256 of the request body: the same id with another digest is a conflict"""
    job: StageJob
    served: ServedModel
    messages: list[bytes] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    """set at the next message or at the end, then replaced"""
    is_ended: bool = False
    has_result: bool = False
    """`done` is told"""
    steps_done: int = 0
    newest: tuple[int, Look] | None = None
    """the newest step; None before the first and once the stage has ended"""
    thumbnail: tuple[int, asyncio.Future[Thumbnail | None]] | None = None
    """the last one that was asked for, and its step"""
    readers: int = 0
    orphan_timer: asyncio.TimerHandle | None = None
    alive_timer: asyncio.TimerHandle | None = None
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class _Kept:
    bytes: int
    timer: asyncio.TimerHandle


class Stages:
    """An empty registry."""

    def __init__(self, limits: StageLimits, metrics: Metrics, log: Log, threads: Threads) -> None:
        self._limits = limits
        self._metrics = metrics
        self._log = log
        self._threads = threads
        self._stages: dict[str, Stage] = {}
        self._kept: dict[str, _Kept] = {}
        self._waiting: list[Stage] = []
        self._running: Stage | None = None
        self._drawing: set[Stage] = set()
        self._slots = asyncio.Semaphore(limits.pictures)
        self._tasks: set[asyncio.Task[None]] = set()
        self._ms_per_token: dict[str, float] = {}

    def find(self, stage_id: str) -> Stage | None:
        return self._stages.get(stage_id)

    def start(self, stage_id: str, digest: str, job: StageJob, served: ServedModel) -> Stage:
        """Begins a new stage, or puts it in the line. Raises QueueFull, and ValueError when the id is taken."""
        if stage_id in self._stages:
            raise ValueError(f"stage {stage_id} is there already")
        if self._running and len(self._waiting) >= self._limits.queue:
            raise QueueFull(self._wait_ms(1) / 1000)
        stage = Stage(stage_id, digest, job, served)
        self._stages[stage_id] = stage
        self._watch_for_orphan(stage)
        if self._running:
            self._waiting.append(stage)
            self._tell_position(stage)
        else:
            self._running = stage
            self._arm_alive(stage)
            self._spawn(self._work())
        return stage

    async def follow(self, stage: Stage) -> AsyncIterator[bytes]:
        """Everything the stage said so far, then what it says. Leaving it stops nothing by itself."""
        stage.readers += 1
        _stop_timer(stage.orphan_timer)
        try:
            index = 0
            while True:
                while index < len(stage.messages):
                    yield stage.messages[index]
                    index += 1
                if stage.is_ended:
                    return
                await stage.changed.wait()
        finally:
            stage.readers -= 1
            if stage.readers == 0 and not stage.is_ended:
                self._watch_for_orphan(stage)

    def cancel(self, stage_id: str) -> bool:
        """Stops or forgets a stage; False when nobody knows it."""
        stage = self._stages.get(stage_id)
        if stage is None:
            return False
        if stage.is_ended:
            self._forget(stage_id)
        else:
            self._stop(stage, "cancelled")
        return True

    async def thumbnail(self, stage: Stage) -> Thumbnail | None:
        """What the stage looks like after its newest step, made for whoever asks first. None where there is nothing to
        see: no step is done, it has ended, or its tokens make no picture. It holds up no step."""
        colours = stage.served.model.colours
        if stage.newest is None or colours is None:
            return None
        step, look = stage.newest
        if stage.thumbnail is None or stage.thumbnail[0] != step:
            stage.thumbnail = (step, asyncio.ensure_future(self._make_thumbnail(stage, colours, step, look)))
        # one who goes away takes it from nobody else
        return await asyncio.shield(stage.thumbnail[1])

    async def _make_thumbnail(self, stage: Stage, colours: Colours, step: int, look: Look) -> Thumbnail | None:
        begin, job = time.monotonic(), stage.job
        side = stage.served.facts.token_pixels
        loop = asyncio.get_running_loop()
        made = await loop.run_in_executor(self._threads.thumbnails, make_thumbnail, job, side, colours, step, look)
        if made is not None:
            self._metrics.thumbnail(job.model, time.monotonic() - begin)
        return made

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Stages that compute: one denoises, others are drawn."""
        return len(self._drawing) + (self._running is not None)

    @property
    def eta_ms(self) -> int:
        """Estimated wait of a new stage."""
        return self._wait_ms(len(self._waiting) + 1)

    async def drain(self, seconds: float) -> None:
        """Ends every waiting stage, and after `seconds` every other one; returns when nothing computes any more."""
        # the last first, so nobody moves up for nothing
        for stage in reversed(self._waiting.copy()):
            self._stop(stage, "drained")
        end = time.monotonic() + seconds
        while self._tasks and time.monotonic() < end:
            await asyncio.wait(self._tasks, timeout=end - time.monotonic())
        for stage in [*([self._running] if self._running else []), *self._drawing]:
            if not stage.is_ended:
                self._stop(stage, "drained")
        while self._tasks:
            await asyncio.wait(self._tasks)

    # ---- waiting ----

    def _wait_ms(self, position: int) -> int:
        """Milliseconds of denoising before the stage at `position` (1 = next) may begin, from evaluations measured so
        far; 0 while none was. A forecast step takes no time worth counting."""
        ahead = [*([self._running] if self._running else []), *self._waiting[: position - 1]]
        return round(sum(self._ms_left(stage) for stage in ahead))

    def _ms_left(self, stage: Stage) -> float:
        job = stage.job
        steps = range(stage.steps_done + 1, job.steps + 1)
        evaluations = sum(job.options.evaluates(step) for step in steps)
        return evaluations * len(job.scale) * self._ms_per_token.get(job.model, 0)

    def _tell_position(self, stage: Stage) -> None:
        """Its place in the line; 0 once it has begun."""
        position = self._waiting.index(stage) + 1 if stage in self._waiting else 0
        self._push(stage, events.queued(position, self._wait_ms(position) if position > 0 else 0))
        self._arm_alive(stage)

    def _arm_alive(self, stage: Stage) -> None:
        _stop_timer(stage.alive_timer)
        loop = asyncio.get_running_loop()
        stage.alive_timer = loop.call_later(self._limits.alive_s, self._tell_position, stage)

    def _leave_line(self, stage: Stage) -> None:
        if stage not in self._waiting:
            return
        at = self._waiting.index(stage)
        del self._waiting[at]
        for behind in self._waiting[at:]:
            self._tell_position(behind)

    # ---- computing ----

    async def _work(self) -> None:
        """Denoises the running stage, then whoever waits, until nobody does."""
        while stage := self._running:
            await self._slots.acquire()
            denoised = None if stage.is_ended else await self._denoise(stage)
            self._running = None
            if denoised is None:
                self._slots.release()
            else:
                self._drawing.add(stage)
                self._spawn(self._finish(stage, denoised))
            if self._waiting:
                self._running = self._waiting[0]
                self._leave_line(self._running)

    async def _denoise(self, stage: Stage) -> Denoised | None:
        """What its steps gave; None when it was stopped or failed."""
        loop = asyncio.get_running_loop()

        def on_step(step: int, sigma: float, ms: float, look: Look) -> None:
            loop.call_soon_threadsafe(self._on_step, stage, step, sigma, ms, look)

        try:
            return await loop.run_in_executor(
                self._threads.device, stage.served.model.denoise, stage.job, on_step, stage.stop.is_set
            )
        except Exception as fault:
            self._fail(stage, fault)
            return None

    def _on_step(self, stage: Stage, step: int, sigma: float, ms: float, look: Look) -> None:
        tokens = len(stage.job.scale)
        self._metrics.step(stage.job.model, tokens, ms)
        if stage.job.options.evaluates(step):
            pace = ms / tokens
            before = self._ms_per_token.get(stage.job.model, pace)
            self._ms_per_token[stage.job.model] = 0.8 * before + 0.2 * pace
        stage.steps_done = step
        if not stage.is_ended:  # or it was stopped during this very step
            _stop_timer(stage.alive_timer)
            stage.newest = (step, look)
            self._push(stage, events.step(step, stage.job.steps, sigma, ms))

    async def _finish(self, stage: Stage, denoised: Denoised) -> None:
        """Draws a denoised stage and ends it."""
        loop = asyncio.get_running_loop()
        job, model, should_stop = stage.job, stage.served.model, stage.stop.is_set
        try:
            thread = self._threads.pictures if decodes_for_result(job) else self._threads.results
            result = await loop.run_in_executor(thread, draw_result, model, job, denoised, should_stop)
            if stage.is_ended:
                return
            self._append(stage, result.message)
            stage.has_result = True
            if job.options.late_preview:
                preview = await loop.run_in_executor(
                    self._threads.pictures, draw_preview, model, job, denoised, result.rgb, should_stop
                )
                if stage.is_ended:
                    return
                self._append(stage, preview)
            self._end(stage, "done")
        except Exception as fault:
            self._fail(stage, fault)
        finally:
            self._drawing.discard(stage)
            self._slots.release()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # ---- ending ----

    def _fail(self, stage: Stage, fault: Exception) -> None:
        """Tells what the model did wrong. A stage that was stopped has told its readers already."""
        if stage.is_ended:
            return
        match fault:
            case NotFinite():
                self._push(stage, events.error("not_finite", str(fault)[:_MAX_EVIDENCE], False))
            case ModelFailed():
                self._push(stage, events.error("model_failed", str(fault), True))
            case _:
                self._push(stage, events.error("model_failed", "the stage server failed", True))
        self._end(stage, "failed", _evidence(fault))

    def _end(self, stage: Stage, came: str, evidence: str | None = None) -> None:
        """The last message is in: readers are let go, the result is kept or forgotten. `came` is what the last part of
        it came to: the stage itself, or the late preview of one that is done."""
        outcome = "done" if stage.has_result and came != "cancelled" else came
        stage.is_ended = True
        stage.newest = stage.thumbnail = None
        _stop_timer(stage.alive_timer)
        _stop_timer(stage.orphan_timer)
        self._leave_line(stage)
        self._wake(stage)
        if outcome == "done":
            self._keep(stage)
        else:
            del self._stages[stage.id]
        # its last use of the prompt lies before
        loop = asyncio.get_running_loop()
        loop.call_later(self._limits.keep_s, stage.served.model.forget_unused_texts, self._limits.keep_s)
        self._metrics.finished(stage.job.model, outcome)
        entry: dict[str, Any] = {
            "event": "stage",
            "id": stage.id,
            "model": stage.job.model,
            "tokens": len(stage.job.scale),
            "steps": stage.job.steps,
            "steps_done": stage.steps_done,
            "ms": round((time.monotonic() - stage.since) * 1000),
            "outcome": outcome,
        }
        if came != outcome:
            entry["preview"] = came
        trace = _trace_of(stage.job.options.traceparent)
        self._log(entry | ({"trace_id": trace} if trace else {}) | ({"error": evidence} if evidence else {}))

    def _stop(self, stage: Stage, outcome: str) -> None:
        stage.stop.set()
        self._push(stage, _STOPPED[outcome])
        self._end(stage, outcome)

    def _watch_for_orphan(self, stage: Stage) -> None:
        loop = asyncio.get_running_loop()
        stage.orphan_timer = loop.call_later(self._limits.orphan_s, self._stop, stage, "orphaned")

    def _keep(self, stage: Stage) -> None:
        size = sum(map(len, stage.messages)) + stage.job.latents.nbytes + stage.job.img_ids.nbytes
        timer = asyncio.get_running_loop().call_later(self._limits.keep_s, self._forget, stage.id)
        self._kept[stage.id] = _Kept(size, timer)
        total = sum(kept.bytes for kept in self._kept.values())
        for stage_id, kept in list(self._kept.items()):
            if total <= self._limits.keep_bytes:
                break
            self._forget(stage_id)
            total -= kept.bytes

    def _forget(self, stage_id: str) -> None:
        _stop_timer(self._kept.pop(stage_id).timer)
        del self._stages[stage_id]

    # ---- messages ----

    def _push(self, stage: Stage, metadata: dict[str, str]) -> None:
        self._append(stage, encode_message(Message(metadata, {})))

    def _append(self, stage: Stage, message: bytes) -> None:
        stage.messages.append(message)
        self._wake(stage)

    def _wake(self, stage: Stage) -> None:
        stage.changed.set()
        stage.changed = asyncio.Event()


def _stop_timer(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def _trace_of(traceparent: str) -> str | None:
    """The trace a stage belongs to, where it is what W3C says it is: https://www.w3.org/TR/trace-context/"""
    match = re.fullmatch(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}", traceparent)
    return match[1] if match else None


def _evidence(fault: Exception) -> str:
    """What the log may say of a failure. A text encoder's complaint may quote the prompt, so only its kind is told."""
    if not isinstance(fault, ModelFailed):
        return (
            f"{type(fault).__name__}: {fault}"[:_MAX_EVIDENCE]
            if isinstance(fault, NotFinite | Stopped)
            else (type(fault).__name__)
        )
    kind = type(fault.cause).__name__
    return f"{fault.part}: {kind}" if fault.part == "text" else f"{fault.part}: {kind}: {fault.cause}"[:_MAX_EVIDENCE]
