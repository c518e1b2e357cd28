"""One JSON line a happening. Entries hold ids, counts and durations; a prompt or a token never enters one."""

from __future__ import annotations

import json
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
