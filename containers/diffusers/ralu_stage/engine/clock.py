"""When work is done: marks in a device's queue of work, and the time between them."""

from __future__ import annotations

import time
from typing import Protocol

import torch


class Mark(Protocol):
    def wait(self) -> None:
        """Returns once everything enqueued before the mark is done."""
        ...

    def ms_since(self, earlier: Mark) -> float:
        """Milliseconds between two marks that are both done."""
        ...


class CudaMark:
    """An event in the current stream. Waiting sleeps, and holds up neither the stream nor other threads."""

    def __init__(self) -> None:
        self.event = torch.cuda.Event(enable_timing=True, blocking=True)
        self.event.record()

    def wait(self) -> None:
        self.event.synchronize()

    def ms_since(self, earlier: CudaMark) -> float:
        return earlier.event.elapsed_time(self.event)


class CpuMark:
    """A moment: on a CPU work is done when the call that asks for it returns."""

    def __init__(self) -> None:
        self.moment = time.perf_counter()

    def wait(self) -> None:
        pass

    def ms_since(self, earlier: CpuMark) -> float:
        return (self.moment - earlier.moment) * 1000


def mark(device: torch.device) -> Mark:
    """A mark behind everything that the calling thread has enqueued on the device."""
    return CudaMark() if device.type == "cuda" else CpuMark()
