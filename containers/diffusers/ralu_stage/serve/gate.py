"""Who may ask: the routes that need the token, and the two headers that may carry it."""

from __future__ import annotations

import hashlib
import hmac

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from ralu_stage.contract.refusal import Refusal
from ralu_stage.serve.json_answer import refuse

# health checks of hosts come without; who has the token is told more
_OPEN_PATHS = {"/healthz", "/ping"}


_KNOWN = "ralu_stage.has_token"


def has_token(request: Request) -> bool:
    """Whether a request that a gate let through came with the token."""
    return bool(request.scope[_KNOWN])


class TokenGate:
    """Lets requests with the token through, and answers 401 to all others before anything else is looked at.

    The token comes as `Authorization: Bearer <token>`, or as `X-Stage-Token: <token>` where a gateway takes the first
    header for itself. Raises ValueError when the token is empty.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        if token == "":
            raise ValueError("the token is empty")
        self._app = app
        self._bearer = _digest(f"Bearer {token}")
        self._plain = _digest(token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_known = self._is_known(Headers(scope=scope))
        if is_known or scope["path"] in _OPEN_PATHS:
            return await self._app({**scope, _KNOWN: is_known}, receive, send)
        message = "expected the token as Authorization: Bearer or as X-Stage-Token"
        answer = refuse(Refusal(401, "unauthorized", message))
        answer.headers["www-authenticate"] = "Bearer"
        await answer(scope, receive, send)

    def _is_known(self, headers: Headers) -> bool:
        # digests have one length, so the comparison takes the same time whatever was sent
        by_bearer = hmac.compare_digest(_digest(headers.get("authorization", "")), self._bearer)
        by_plain = hmac.compare_digest(_digest(headers.get("x-stage-token", "")), self._plain)
        return by_bearer | by_plain


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
