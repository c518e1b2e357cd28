"""The stage server's routes. What a stage is and does is in stages.py; here are only HTTP's sides of it."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from ralu_stage import __version__
from ralu_stage.contract.facts import ModelFacts, check_facts
from ralu_stage.contract.refusal import Refusal
from ralu_stage.contract.request import parse_stage
from ralu_stage.model import Model
from ralu_stage.serve.answer import Answer
from ralu_stage.serve.body import Bodies, BodyLimits
from ralu_stage.serve.gate import TokenGate, has_token
from ralu_stage.serve.json_answer import answer_json, refuse
from ralu_stage.serve.log import Log, log_to_stderr
from ralu_stage.serve.metrics import Metrics
from ralu_stage.serve.stages import QueueFull, ServedModel, Stage, StageLimits, Stages, Threads
from ralu_stage.serve.thumbnail import FORMAT as THUMBNAIL_FORMAT

CONTRACT_VERSION = 6
FEATURES = ("account_tag", "solver.ab2", "clean_latents", "late_preview", "enlarge", "thumbnail")

_STAGE_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")
_STARTING_RETRY_S = 2
_MAX_RETRY_S = 30


@dataclass(frozen=True)
class ServerLimits:
    """What one server allows itself, beside its stages and bodies. Seconds."""

    stages: StageLimits = field(default_factory=StageLimits)
    bodies: BodyLimits = field(default_factory=BodyLimits)
    drain_s: float = 30
    """how long running stages may go on after `close`"""
    reader_s: float = 120
    """how long a reader may take nothing"""


class StageServer:
    """A stage server as an ASGI application; it answers as `starting` until `open`. Make it on a running event loop.
    Raises ValueError when the token is empty."""

    def __init__(self, token: str, limits: ServerLimits | None = None, log: Log = log_to_stderr) -> None:
        self._limits = limits or ServerLimits()
        self._log = log
        self._metrics = Metrics()
        self._bodies = Bodies(self._limits.bodies)
        self._models: dict[str, ServedModel] = {}
        self._is_open = False
        self._closing: asyncio.Task[None] | None = None
        self.device = ThreadPoolExecutor(1, "device")
        """the one thread that owns the device: models are loaded, run and closed in it"""
        others = [ThreadPoolExecutor(1, name) for name in ("results", "pictures", "thumbnails")]
        self._threads = Threads(self.device, *others)
        self._stages = Stages(self._limits.stages, self._metrics, log, self._threads)
        self._app = TokenGate(self._routes(), token)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        except Exception as fault:  # answered already
            self._log({"event": "internal_error", "method": scope["method"], "error": type(fault).__name__})

    def open(self, models: Sequence[Model]) -> None:
        """Serves these models from now on. Raises ValueError for facts that break the contract's rules, and when two
        models share a name."""
        served = [
            ServedModel(model, check_facts(model.facts, model.engine_class, model.deterministic)) for model in models
        ]
        names: dict[str, ServedModel] = {}
        for each in served:
            for name in (each.facts.id, *each.facts.aliases):
                if name in names:
                    raise ValueError(f"two models are called {name}")
                names[name] = each
        self._models = names
        self._is_open = True

    async def close(self) -> None:
        """Refuses what is new, lets the running stage finish, closes the models. Called again it waits for the same
        end."""
        self._closing = self._closing or asyncio.get_running_loop().create_task(self._close())
        await self._closing

    async def _close(self) -> None:
        await self._stages.drain(self._limits.drain_s)
        loop = asyncio.get_running_loop()
        for served in self._served():
            await loop.run_in_executor(self.device, served.model.close)
        self._threads.shutdown()

    # ---- routes ----

    def _routes(self) -> Starlette:
        async def not_found(request: Request, _: Exception) -> Response:
            path = request.url.path[:100]
            return refuse(Refusal(404, "not_found", f"nothing at {request.method} {path}"))

        async def refused(request: Request, refusal: Exception) -> Response:
            assert isinstance(refusal, Refusal)
            entry = {"event": "refused", "status": refusal.status, "code": refusal.code}
            stage_id = request.path_params.get("id")
            self._log(
                entry
                | ({} if stage_id is None else {"id": stage_id[:200]})
                | ({} if refusal.field is None else {"field": refusal.field})
            )
            return refuse(refusal)

        async def failed(_: Request, __: Exception) -> Response:
            return refuse(Refusal(500, "internal", "the stage server failed"))

        app = Starlette(
            routes=[
                Route("/healthz", self._health),
                Route("/ping", self._ping),
                Route("/metrics", self._render_metrics),
                Route("/v1/models", self._list_models),
                Route("/v1/stages/{id}", self._put_stage, methods=["PUT"]),
                Route("/v1/stages/{id}", self._delete_stage, methods=["DELETE"]),
                Route("/v1/stages/{id}/thumbnail", self._show_stage),
            ],
            exception_handlers={Refusal: refused, HTTPException: not_found, Exception: failed},
        )
        app.router.redirect_slashes = False
        return app

    def _status(self) -> str:
        if self._closing:
            return "draining"
        if not self._is_open:
            return "starting"
        return "busy" if self._stages.running > 0 else "ready"

    async def _health(self, request: Request) -> Response:
        status = self._status()
        # how much others have to do is for who may give it work
        line = {"queue": self._stages.waiting, "eta_ms": self._stages.eta_ms} if has_token(request) else {}
        return answer_json(
            {"status": status, **line, "version": __version__}, 200 if status in ("ready", "busy") else 503
        )

    async def _ping(self, _: Request) -> Response:
        codes = {"starting": 204, "draining": 503}
        return Response(status_code=codes.get(self._status(), 200))

    async def _render_metrics(self, _: Request) -> Response:
        text = self._metrics.render(self._stages.waiting, self._stages.running)
        return Response(text, headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})

    async def _list_models(self, _: Request) -> Response:
        self._check_open()
        served = self._served()
        caches = dict.fromkeys(f"cache.{kind}" for each in served for kind in each.facts.caches)
        return answer_json(
            {
                "contract": {"version": CONTRACT_VERSION, "features": [*FEATURES, *caches]},
                "models": [each.facts.model_dump(mode="json", exclude_unset=True) for each in served],
            }
        )

    async def _put_stage(self, request: Request) -> Response:
        stage_id = request.path_params["id"]
        if not _STAGE_ID.fullmatch(stage_id):
            message = "expected 1 to 200 letters, digits, dots, dashes and underscores, the first no dot"
            raise Refusal(400, "bad_id", message, "id")
        body = await self._bodies.read(request)
        self._check_open()
        # from here on nothing waits, so two equal requests cannot both start
        known = self._stages.find(stage_id)
        if known is not None:
            if known.digest != body.digest:
                raise Refusal(409, "stage_conflict", "this id was used with another body", "id")
            return self._follow(known)
        if self._closing:
            raise Refusal(503, "draining", "the server shuts down", retry_after_s=_MAX_RETRY_S)
        job = replace(parse_stage(body.data, self._facts()), stage_id=stage_id)
        try:
            stage = self._stages.start(stage_id, body.digest, job, self._models[job.model])
        except QueueFull as full:
            retry_after_s = min(_MAX_RETRY_S, max(1, math.ceil(full.retry_after_s)))
            message = f"{self._stages.waiting} stages wait already"
            raise Refusal(503, "queue_full", message, retry_after_s=retry_after_s) from None
        return self._follow(stage)

    async def _delete_stage(self, request: Request) -> Response:
        stage_id = request.path_params["id"]
        is_known = self._stages.cancel(stage_id)
        # also of a stage whose result is gone
        for served in self._served():
            served.model.forget_texts(stage_id)
        if not is_known:
            raise Refusal(404, "unknown_stage", "no such stage", "id")
        return Response(status_code=204)

    async def _show_stage(self, request: Request) -> Response:
        stage = self._stages.find(request.path_params["id"])
        if stage is None:
            raise Refusal(404, "unknown_stage", "no such stage", "id")
        thumbnail = await self._stages.thumbnail(stage)
        if thumbnail is None:
            return Response(status_code=204)
        file = thumbnail.file
        headers = {
            "cache-control": "no-store",
            "x-stage-step": str(thumbnail.step),
            "x-stage-size": f"{file.width}x{file.height}",
        }
        return Response(file.data, headers=headers, media_type=f"image/{THUMBNAIL_FORMAT}")

    def _follow(self, stage: Stage) -> Response:
        return Answer(self._stages.follow(stage), self._limits.reader_s)

    def _check_open(self) -> None:
        if not self._is_open:
            raise Refusal(503, "starting", "the models are being loaded", retry_after_s=_STARTING_RETRY_S)

    def _served(self) -> list[ServedModel]:
        return list(dict.fromkeys(self._models.values()))

    def _facts(self) -> dict[str, ModelFacts]:
        return {name: served.facts for name, served in self._models.items()}
