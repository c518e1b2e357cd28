"""Prompts that were encoded before, a bounded number of them, for a while."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from ralu_stage.text.encoded import Encoded

MOST_PROMPTS = 64
MOST_BYTES = 512 * 2**20
"""On the device, if the texts are there: 64 prompts of FLUX.1 have 256 MiB."""
MOST_USERS = 1000
"""Stages that may share a text; one more has it encoded anew. So the list of those who may have it forgotten ends."""


@dataclass(eq=False)
class _Entry:
    encoded: Encoded
    users: set[str] = field(default_factory=set)
    used_at: float = 0


class TextCache:
    """Remembers the prompts of each account apart, so that nobody learns from timing what others ask for.

    The longest unused go first. Laws: a prompt is encoded once for an account, as long as it is remembered; what a
    stage has used is gone once it was forgotten. One thread gets texts, any thread may have them forgotten.
    """

    def __init__(
        self, encode: Callable[[str], Encoded], most_prompts: int = MOST_PROMPTS, most_bytes: int = MOST_BYTES
    ) -> None:
        self.encode = encode
        self.most_prompts, self.most_bytes = most_prompts, most_bytes
        self.entries: OrderedDict[tuple[str | None, str], _Entry] = OrderedDict()
        self.bytes = 0
        self.encodings = 0
        """prompts encoded so far"""
        self._lock = threading.Lock()

    def get(
        self,
        account_tag: str | None,
        prompt: str,
        stage_id: str = "",
        should_stop: Callable[[], bool] = lambda: False,
    ) -> Encoded:
        """The prompt encoded for a stage, now or before; without a tag it shares with all that have none. One that was
        told to stop while its prompt was encoded leaves it to nobody."""
        key = (account_tag, prompt)
        with self._lock:
            entry = self.entries.get(key)
            if entry is not None and len(entry.users) < MOST_USERS:
                self._use(key, entry, stage_id)
                return entry.encoded
        encoded = self.encode(prompt)
        with self._lock:
            self.encodings += 1
            self._drop(key)
            if not should_stop():
                self.bytes += encoded.bytes
                self._use(key, _Entry(encoded), stage_id)
            while len(self.entries) > self.most_prompts or (self.bytes > self.most_bytes and len(self.entries) > 1):
                self._drop(next(iter(self.entries)))
        return encoded

    def forget(self, stage_id: str) -> None:
        """Forgets every text that the stage has used. A stage that still runs is told to stop before."""
        with self._lock:
            for key in [key for key, entry in self.entries.items() if stage_id in entry.users]:
                self._drop(key)

    def forget_unused(self, seconds: float) -> None:
        """Forgets the texts that nobody has used for so long."""
        with self._lock:
            since = time.monotonic() - seconds
            for key in [key for key, entry in self.entries.items() if entry.used_at <= since]:
                self._drop(key)

    def clear(self) -> None:
        with self._lock:
            for key in list(self.entries):
                self._drop(key)

    def _use(self, key: tuple[str | None, str], entry: _Entry, stage_id: str) -> None:
        entry.users.add(stage_id)
        entry.used_at = time.monotonic()
        self.entries[key] = entry
        self.entries.move_to_end(key)

    def _drop(self, key: tuple[str | None, str]) -> None:
        entry = self.entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry.encoded.bytes
