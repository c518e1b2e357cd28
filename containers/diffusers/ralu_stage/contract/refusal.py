"""Why a request begins nothing, as the contract says it."""

from __future__ import annotations

import json

_MAX_FIELD = 200


class Refusal(Exception):
    """A request that begins nothing: its HTTP status, code, one sentence, and the field at fault where there is one.

    The sentence says what was got and what was expected, and never repeats a prompt.
    """

    def __init__(
        self, status: int, code: str, message: str, field: str | None = None, retry_after_s: int | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = None if field is None else field[:_MAX_FIELD]
        self.retry_after_s = retry_after_s


def show(text: str) -> str:
    """A name from outside as a sentence may quote it: short, and on one line."""
    return json.dumps(text if len(text) <= 60 else f"{text[:60]}…", ensure_ascii=False)
