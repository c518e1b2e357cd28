"""What a server says of a running stage: the metadata of each message of an answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ralu_stage.contract.message import write_json

MAX_WARNINGS = 64
MAX_WARNING = 2000


def queued(position: int, eta_ms: float) -> dict[str, str]:
    """It waits: 1 is next, 0 has begun and has no step yet. `eta_ms` is the estimated wait."""
    return _metadata(event="queued", position=position, eta_ms=eta_ms)


def step(number: int, steps: int, sigma: float, ms: float) -> dict[str, str]:
    """The step `number` of `steps`, from 1, which began at `sigma` and took `ms`."""
    return _metadata(event="step", step=number, steps=steps, sigma=sigma, ms=ms)


def done(
    *,
    compute_ms: float,
    encode_text_ms: float,
    decode_ms: float,
    encode_ms: float,
    steps_done: int,
    evaluations: int,
    text_tokens: int,
    engine: str,
    model_digest: str,
    warnings: Iterable[str],
) -> dict[str, str]:
    """The end of a stage, beside its tensors. Warnings over their limits are cut."""
    kept = [warning[:MAX_WARNING] for warning in warnings][:MAX_WARNINGS]
    return _metadata(
        event="done",
        compute_ms=compute_ms,
        encode_text_ms=encode_text_ms,
        decode_ms=decode_ms,
        encode_ms=encode_ms,
        steps_done=steps_done,
        evaluations=evaluations,
        text_tokens=text_tokens,
        engine=engine,
        model_digest=model_digest,
        warnings=kept,
    )


def preview(decode_ms: float, encode_ms: float) -> dict[str, str]:
    """A late preview, beside its tensor: what was spent on it since `done`."""
    return _metadata(event="preview", decode_ms=decode_ms, encode_ms=encode_ms)


def error(code: str, message: str, retryable: bool) -> dict[str, str]:
    """A stage that came to nothing, and whether the same request may succeed."""
    return _metadata(event="error", code=code, message=message, retryable=retryable)


def _metadata(**values: Any) -> dict[str, str]:
    """Metadata as strings: text stays as it is, everything else becomes JSON, whole numbers without a point."""
    return {key: value if isinstance(value, str) else write_json(_shortest(value)) for key, value in values.items()}


def _shortest(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value
