"""How far the host runs ahead of the device: some steps, so that the device never waits and a stage can be stopped."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from types import TracebackType

import torch

from ralu_stage.engine.clock import Mark, mark
from ralu_stage.model import Look, NotFinite, OnStep, Stopped

STEP_LIMIT_S = 600.0
"""A step that takes longer has failed."""


class Pace:
    """Bounds the enqueued steps of one stage, and reports each when it is done.

    The thread that owns the device enqueues; it never waits for the device, only for its turn. A second thread waits
    for the marks behind the steps, calls `on_step` and looks whether the latents are finite. On CUDA two steps may be
    enqueued beyond the last finished one. On a CPU it is one, so a step is reported before the next begins.

        with Pace(device, steps, on_step, should_stop) as pace:
            for step in ...:
                pace.begin()
                x = ...
                pace.end(step, sigma, x, look)

    Leaving the block waits for all that is enqueued. Raises Stopped from `begin`, NotFinite from there or from the end
    of the block, and what `on_step` raised.
    """

    def __init__(
        self,
        device: torch.device,
        steps: int,
        on_step: OnStep,
        should_stop: Callable[[], bool],
    ) -> None:
        self.device = device
        self.on_step, self.should_stop = on_step, should_stop
        self.turns = threading.Semaphore(2 if device.type == "cuda" else 1)
        self.reports: queue.SimpleQueue[tuple[int, float, Mark, Look] | None] = queue.SimpleQueue()
        self.finite = torch.ones(steps, dtype=torch.bool, pin_memory=device.type == "cuda")
        self.failure: BaseException | None = None
        self.started = self.latest = mark(device)
        self.watcher = threading.Thread(target=self.watch, name="step-watcher", daemon=True)

    @property
    def compute_ms(self) -> float:
        """Time of the steps that were reported."""
        return self.latest.ms_since(self.started)

    def begin(self) -> None:
        """Waits for a turn. Called at each step boundary."""
        if not self.turns.acquire(timeout=STEP_LIMIT_S):
            raise TimeoutError(f"a step took more than {STEP_LIMIT_S:g} s")
        if self.failure is not None:
            raise self.failure
        if self.should_stop():
            raise Stopped

    def end(self, step: int, sigma: float, latents: torch.Tensor, look: Look) -> None:
        """Says that a step is enqueued: its number from 1, the sigma where it began, the latents it gives,
        and what gives its clean estimate once it is done."""
        self.finite[step - 1].copy_(torch.isfinite(latents).all(), non_blocking=True)
        self.reports.put((step, sigma, mark(self.device), look))

    def watch(self) -> None:
        while (report := self.reports.get()) is not None:
            step, sigma, done, look = report
            try:
                done.wait()
                if self.failure is None:
                    if not self.finite[step - 1]:
                        raise NotFinite
                    ms, self.latest = done.ms_since(self.latest), done
                    self.on_step(step, sigma, ms, look)
            except BaseException as failure:
                self.failure = self.failure or failure
            self.turns.release()

    def __enter__(self) -> Pace:
        self.watcher.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.reports.put(None)
        self.watcher.join(STEP_LIMIT_S)
        if error is None and self.failure is not None:
            raise self.failure
