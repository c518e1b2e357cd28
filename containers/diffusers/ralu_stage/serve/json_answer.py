"""Answers that are JSON."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from ralu_stage.contract.message import write_json
from ralu_stage.contract.refusal import Refusal


def answer_json(value: Any, status: int = 200) -> Response:
    """The value as JSON. Raises ValueError for NaN and infinities."""
    # a name from outside may hold a lone surrogate: as an escape it is JSON
    text = write_json(value).encode("utf-8", "backslashreplace")
    return Response(text, status, media_type="application/json")


def refuse(refusal: Refusal) -> Response:
    """A refusal as the contract writes it."""
    body = {"code": refusal.code, "message": refusal.message}
    answer = answer_json(body if refusal.field is None else {**body, "field": refusal.field}, refusal.status)
    if refusal.retry_after_s is not None:
        answer.headers["retry-after"] = str(refusal.retry_after_s)
    if refusal.status == 408:
        answer.headers["connection"] = "close"
    return answer
