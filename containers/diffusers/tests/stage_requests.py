"""Stage requests for the closed-form model, right by default and wrong on demand."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import numpy
from closed_form import FACTS

from ralu_stage.contract.message import Message, encode_message, write_json

PROMPT = "a red apple"
TRACE = "0af7651916cd43dd8448eb211c80319c"


def tokens_of(layout: str, width: int = 128, height: int = 64) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Ids [n, 3] and scales [n] of a layout: `low`, `full`, `mixed` (the top left low token upsampled), or
    `all-upsampled` (every one, still on the small grid's ids)."""
    side = 16 if layout == "full" else 32
    places = [(float(r), float(c)) for r in range(height // side) for c in range(width // side)]
    upsampled = {"low": 0, "full": 0, "mixed": 1, "all-upsampled": len(places)}[layout]
    halves = [(0, 0), (0, 0.5), (0.5, 0), (0.5, 0.5)]
    children = [(r + down, c + right) for r, c in places[:upsampled] for down, right in halves]
    kept = places[upsampled:]
    scale = [1 if layout == "full" else 2] * len(kept) + [1] * len(children)
    img_ids = [(0.0, r, c) for r, c in kept + children]
    return numpy.array(img_ids, numpy.float32), numpy.array(scale, numpy.uint8)


def seeded_latents(n: int, width: int = 16) -> numpy.ndarray:
    """Reproducible latents of about normal size."""
    values = 2 * numpy.sin(12.9898 * numpy.arange(1, n * width + 1) + 0.3)
    return values.astype(numpy.float32).reshape(n, width)


def even_sigmas(steps: int, start: float = 1, end: float = 0) -> list[float]:
    return [start - (start - end) * i / steps for i in range(steps)] + [end]


def stage_body(
    layout: str = "low",
    sigmas: Sequence[float] = (1, 0.5, 0),
    tensors: Mapping[str, numpy.ndarray | None] | None = None,
    metadata: Mapping[str, str | None] | None = None,
    **options: Any,
) -> bytes:
    """A request's bytes. `options` are fields by their values, `metadata` is as it goes on the wire; None there leaves
    a key out, and so it does in `tensors`."""
    img_ids, scale = tokens_of(layout)
    fields = {
        "model": FACTS["id"],
        "prompt": PROMPT,
        "negative_prompt": "",
        "guidance": None,
        "width": 128,
        "height": 64,
        "decode": "none",
        "rgb": options.get("decode") == "clean",
        "format": "png",
        "quality": 80,
        "preview": None,
        "cache": None,
        "traceparent": f"00-{TRACE}-b7ad6b7169203331-01",
        **options,
    }
    text = {key: value if isinstance(value, str) else write_json(value) for key, value in fields.items()}
    all_tensors = {
        "latents": seeded_latents(len(scale)),
        "img_ids": img_ids,
        "sigmas": numpy.array(sigmas, numpy.float32),
        "scale": scale,
        **(tensors or {}),
    }
    return encode_message(
        Message(
            {key: value for key, value in {**text, **(metadata or {})}.items() if value is not None},
            {name: tensor for name, tensor in all_tensors.items() if tensor is not None},
        )
    )


def fresh_id() -> str:
    return f"job-{uuid.uuid4()}.1.0123456789abcdef"
