"""Counters of one server, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics, generate_latest

# the time of a counter's birth is a series of its own for each, which nobody asks for
disable_created_metrics()


class Metrics:
    """Counters that start at zero. `render` gives them with the gauges of the moment."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        model = ["model"]

        def counter(name: str, about: str, labels: list[str]) -> Counter:
            return Counter(name, about, labels, registry=self._registry)

        self._finished = counter("stage_finished_total", "Stages that ended, by outcome.", [*model, "outcome"])
        self._steps = counter("stage_steps_total", "Denoising steps done, forecast ones too.", model)
        self._tokens = counter("stage_tokens_total", "Image tokens denoised, counted once a step.", model)
        self._seconds = counter("stage_compute_seconds_total", "Seconds spent in denoising steps.", model)
        self._thumbnails = counter("stage_thumbnails_total", "Thumbnails made of stages on their way.", model)
        self._thumbnail_seconds = counter(
            "stage_thumbnail_seconds_total", "Seconds spent making thumbnails, beside the steps.", model
        )
        self._waiting = Gauge("stage_queue_length", "Stages waiting.", registry=self._registry)
        self._running = Gauge("stage_running", "Stages computing.", registry=self._registry)

    def step(self, model: str, tokens: int, ms: float) -> None:
        self._steps.labels(model).inc()
        self._tokens.labels(model).inc(tokens)
        self._seconds.labels(model).inc(ms / 1000)

    def thumbnail(self, model: str, seconds: float) -> None:
        self._thumbnails.labels(model).inc()
        self._thumbnail_seconds.labels(model).inc(seconds)

    def finished(self, model: str, outcome: str) -> None:
        self._finished.labels(model, outcome).inc()

    def render(self, waiting: int, running: int) -> bytes:
        """Text in Prometheus' format: https://prometheus.io/docs/instrumenting/exposition_formats/"""
        self._waiting.set(waiting)
        self._running.set(running)
        return generate_latest(self._registry)
