"""The body of a request, within limits of size, time and memory."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass

from starlette.requests import Request

from ralu_stage.contract.message import MAX_MESSAGE_BYTES
from ralu_stage.contract.refusal import Refusal


@dataclass(frozen=True)
class BodyLimits:
    """Bytes of one body and of all that are being read, seconds without a byte and for all of one."""

    bytes: int = MAX_MESSAGE_BYTES
    bytes_together: int = 8 * MAX_MESSAGE_BYTES
    idle_s: float = 30
    total_s: float = 300


@dataclass(frozen=True)
class Body:
    """A whole body, and the SHA-256 of it in hexadecimal digits."""

    data: bytearray
    digest: str


class Bodies:
    """Reads bodies, never holding more than the limits allow."""

    def __init__(self, limits: BodyLimits) -> None:
        self._limits = limits
        self._claimed = 0

    async def read(self, request: Request) -> Body:
        """The body. Raises Refusal: `too_large`, from content-length before reading where it is there; `broken_body`
        where the client went away, or with 408 where it fell silent; `queue_full` where too many are being read."""
        limits = self._limits
        said = request.headers.get("content-length")
        claim = limits.bytes if said is None else int(said)
        if claim > limits.bytes:
            raise self._too_large()
        if self._claimed + claim > limits.bytes_together:
            raise Refusal(503, "queue_full", "too many bodies are being read", retry_after_s=1)
        self._claimed += claim
        try:
            async with asyncio.timeout(limits.total_s):
                return await self._read(request)
        except TimeoutError:
            raise Refusal(
                408, "broken_body", f"the body did not come: nothing for {limits.idle_s:g} s, or too slowly"
            ) from None
        finally:
            self._claimed -= claim

    async def _read(self, request: Request) -> Body:
        data, digest = bytearray(), hashlib.sha256()
        is_whole = False
        while not is_whole:
            message = await asyncio.wait_for(request.receive(), self._limits.idle_s)
            if message["type"] == "http.disconnect":
                # nobody hears the answer, and nothing was begun
                raise Refusal(400, "broken_body", "the body ended before it was complete")
            chunk = message.get("body", b"")
            if len(data) + len(chunk) > self._limits.bytes:
                raise self._too_large()
            data += chunk
            digest.update(chunk)
            is_whole = not message.get("more_body", False)
        return Body(data, digest.hexdigest())

    def _too_large(self) -> Refusal:
        return Refusal(413, "too_large", f"the body is over the limit of {self._limits.bytes} bytes")
