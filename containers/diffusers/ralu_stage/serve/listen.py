"""An ASGI application on a port."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

_KEEP_ALIVE_S = 75


class _Server(uvicorn.Server):
    """Signals are main.py's: a stage that runs may finish before the port closes."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Listening:
    """An application that listens; `url` says where."""

    def __init__(self, url: str, server: _Server, serving: asyncio.Task[None]) -> None:
        self.url = url
        self._server = server
        self._serving = serving

    async def close(self) -> None:
        """Takes no new connection, gives open answers time to reach their readers, then cuts what is left."""
        self._server.should_exit = True
        await self._serving


async def listen(app: ASGIApp, host: str, port: int, flush_s: int) -> Listening:
    """Listens on `host:port`; port 0 takes a free one. Answers have `flush_s` to end after `close`. Raises OSError
    when the port is taken."""
    # asyncio sends small messages at once only where the protocol is named
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=flush_s,
    )
    server = _Server(config)
    serving = asyncio.get_running_loop().create_task(server.serve(sockets=[sock]))
    taken = sock.getsockname()[1]
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    return Listening(f"http://{f'[{host}]' if ':' in host else host}:{taken}", server, serving)
