"""A stage's messages as the body of a response: each is sent when it happens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

# no registered media type of a sequence of safetensors messages exists
SEQUENCE_TYPE = "application/vnd.safetensors-sequence"
_CHUNK_BYTES = 64 * 1024


class Answer(Response):
    """Sends the messages until there are no more, or nobody reads them: the client went away, or took nothing for
    `reader_s` seconds."""

    def __init__(self, messages: AsyncGenerator[bytes, None], reader_s: float) -> None:
        super().__init__(media_type=SEQUENCE_TYPE, headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._messages = messages
        self._reader_s = reader_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sending = asyncio.ensure_future(self._send_all(send))
        gone = asyncio.ensure_future(_until_gone(receive))
        try:
            await asyncio.wait([sending, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, gone):
                task.cancel()
            sent, _ = await asyncio.gather(sending, gone, return_exceptions=True)
        if isinstance(sent, Exception) and not isinstance(sent, TimeoutError):
            raise sent

    async def _send_all(self, send: Send) -> None:
        async def send_within_limit(message: dict) -> None:
            async with asyncio.timeout(self._reader_s):
                await send(message)

        async with aclosing(self._messages) as messages:
            await send_within_limit(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            async for message in messages:
                # in pieces, so that one slow reader never has a whole message in its socket's buffer
                for at in range(0, len(message), _CHUNK_BYTES):
                    chunk = message[at : at + _CHUNK_BYTES]
                    await send_within_limit({"type": "http.response.body", "body": chunk, "more_body": True})
            await send_within_limit({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
