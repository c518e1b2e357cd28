"""One JSON line a happening. Entries hold ids, counts and durations; a prompt or a token never enters one."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Log = Callable[[dict[str, Any]], None]


def log_to_stderr(entry: dict[str, Any]) -> None:
    """Writes to stderr: stdout carries the ready line alone, so a parent may stop reading it and nothing blocks."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    sys.stderr.write(json.dumps({"time": time, **entry}) + "\n")
    sys.stderr.flush()


class LogLines(logging.Handler):
    """What our own modules and the HTTP server say through `logging`, as lines of the same log. Other libraries may
    quote a prompt, and are not heard."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        fault = record.exc_info and record.exc_info[0]
        entry = {"event": "log", "level": record.levelname.lower(), "message": record.getMessage().strip()}
        self._log(entry | ({"error": fault.__name__} if fault else {}))

    def listen(self) -> None:
        """Takes what is said from now on: of ours everything from INFO, of the HTTP server from WARNING."""
        # without a handler at the root, logging itself writes the warnings of all others to stderr
        logging.getLogger().addHandler(logging.NullHandler())
        for name, level in [("ralu_stage", logging.INFO), ("uvicorn", logging.WARNING)]:
            logger = logging.getLogger(name)
            logger.setLevel(level)
            logger.addHandler(self)
            logger.propagate = False
