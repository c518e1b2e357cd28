"""The stage server as a process.

Listens at once as `starting`, prints `{"event":"ready","url":…}` on stdout when the models are loaded, logs on stderr.
SIGTERM or SIGINT: refuses what is new, finishes the running stage, exits 0; a second one exits at once. Exit 1: the
models cannot be loaded or the port is taken. Exit 2: a wrong flag or no token.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from ralu_stage.model import Model
from ralu_stage.serve.app import ServerLimits, StageServer
from ralu_stage.serve.listen import listen
from ralu_stage.serve.log import LogLines, log_to_stderr
from ralu_stage.serve.stages import StageLimits

# how long readers may take to fetch the last bytes once nothing computes any more
_FLUSH_S = 5


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Serves the models that the command line names until a signal ends it."""
    flags = _parse(arguments)
    token = os.environ.get("STAGE_TOKEN", "")
    # it travels in a header
    if token == "" or not (token.isascii() and token.isprintable()):
        _failed("the environment variable STAGE_TOKEN holds no token of printable ASCII characters")
        sys.exit(2)

    def load() -> list[Model]:
        # diffusers takes seconds to import: the server answers meanwhile
        from ralu_stage.load import LoadSettings, load_model

        settings = LoadSettings(
            dtype=flags.dtype,
            quantize=flags.quantize,
            offload=flags.offload,
            compile=flags.compile,
            device=flags.device,
            facts=flags.facts,
        )
        return [load_model(name, settings) for name in flags.model]

    # a thread that never answers must not keep the process
    code = serve(load, token=token, host=flags.host, port=flags.port, queue=flags.queue)
    sys.stdout.flush()
    os._exit(code)


def serve(
    load: Callable[[], Sequence[Model]], *, token: str, host: str, port: int, queue: int = StageLimits.queue
) -> int:
    """Serves the models that `load` gives until SIGTERM or SIGINT; the exit code. `load` runs in the thread that owns
    the device."""
    LogLines(log_to_stderr).listen()
    limits = ServerLimits(stages=StageLimits(queue=queue))
    return asyncio.run(_serve(load, token, host, port, limits))


async def _serve(load: Callable[[], Sequence[Model]], token: str, host: str, port: int, limits: ServerLimits) -> int:
    server = StageServer(token, limits)
    try:
        listening = await listen(server, host, port, _FLUSH_S)
    except OSError as fault:
        return _failed(f"cannot listen on {host}:{port}: {fault.strerror or fault}")

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(name: str) -> None:
        if stopped.is_set():
            os._exit(1)
        log_to_stderr({"event": "draining", "signal": name})
        stopped.set()

    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop, each.name)

    loading = loop.run_in_executor(server.device, load)
    waiting = loop.create_task(stopped.wait())
    await asyncio.wait([loading, waiting], return_when=asyncio.FIRST_COMPLETED)
    if loading.done():
        try:
            models = loading.result()
            server.open(models)
        except Exception as fault:
            return _failed(f"the models cannot be loaded: {fault or type(fault).__name__}")
        for model in models:
            log_to_stderr({"event": "loaded", "model": model.facts["id"], "engine": model.engine_class})
        print(json.dumps({"event": "ready", "url": listening.url}), flush=True)
        await stopped.wait()

    try:
        async with asyncio.timeout(limits.drain_s + 2 * _FLUSH_S):
            await server.close()
            await listening.close()
    except TimeoutError:
        return _failed("the running stage did not stop")
    return 0


def _failed(message: str) -> int:
    log_to_stderr({"event": "failed", "message": message})
    return 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="ralu-stage",
        description="Serves diffusers' models by the stage contract until SIGTERM. Requests need the token that the"
        " environment variable STAGE_TOKEN holds.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--model", action="append", required=True, metavar="NAME", help="a folder or hub id in diffusers' format"
    )
    parser.add_argument(
        "--dtype", choices=["bf16", "fp16", "fp32"], help="of the weights (bf16 on a GPU, fp32 on a CPU)"
    )
    parser.add_argument(
        "--quantize", choices=["none", "fp8", "int8"], default="none", help="the transformer's weights (none)"
    )
    parser.add_argument(
        "--offload", choices=["none", "text"], default="none", help="keep the text encoders on the CPU (none)"
    )
    parser.add_argument("--compile", action="store_true", help="compile the transformer's blocks")
    parser.add_argument("--device", choices=["cuda", "cpu"], help="(cuda where there is one)")
    parser.add_argument(
        "--facts", type=Path, metavar="FILE", help="the operator's facts of a single model (ralu.json beside the model)"
    )
    parser.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="(127.0.0.1)")
    parser.add_argument(
        "--port",
        type=_whole(0, 65_535),
        default=os.environ.get("PORT") or "8788",
        metavar="NUMBER",
        help="0 takes a free one (the environment variable PORT, or 8788)",
    )
    parser.add_argument(
        "--queue",
        type=_whole(0, 10_000),
        default=StageLimits.queue,
        metavar="NUMBER",
        help=f"stages that may wait ({StageLimits.queue})",
    )
    flags = parser.parse_args(arguments)
    if flags.facts and len(flags.model) > 1:
        parser.error("argument --facts: is for a single --model")
    return flags


def _whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if text.isascii() and text.isdigit() and least <= int(text) <= most:
            return int(text)
        raise argparse.ArgumentTypeError(f"is {text}, expected a whole number from {least} to {most}")

    return parse
