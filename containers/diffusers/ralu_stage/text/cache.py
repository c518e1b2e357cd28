"""Prompts that were encoded before, a bounded number of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from ralu_stage.text.encoded import Encoded

MOST_PROMPTS = 64
MOST_BYTES = 512 * 2**20
"""On the device, if the texts are there: 64 prompts of FLUX.1 have 256 MiB."""


class TextCache:
    """Remembers the prompts of each account apart, so that nobody learns from timing what others ask for.

    The longest unused go first. Law: a prompt is encoded once for an account, as long as it is remembered.
    """

    def __init__(
        self, encode: Callable[[str], Encoded], most_prompts: int = MOST_PROMPTS, most_bytes: int = MOST_BYTES
    ) -> None:
        self.encode = encode
        self.most_prompts, self.most_bytes = most_prompts, most_bytes
        self.entries: OrderedDict[tuple[str | None, str], Encoded] = OrderedDict()
        self.bytes = 0
        self.encodings = 0
        """prompts encoded so far"""

    def get(self, account_tag: str | None, prompt: str) -> Encoded:
        """The prompt encoded, now or before; without a tag it shares with all that have none."""
        key = (account_tag, prompt)
        if key in self.entries:
            self.entries.move_to_end(key)
            return self.entries[key]
        encoded = self.entries[key] = self.encode(prompt)
        self.encodings += 1
        self.bytes += encoded.bytes
        while len(self.entries) > self.most_prompts or (self.bytes > self.most_bytes and len(self.entries) > 1):
            self.bytes -= self.entries.popitem(last=False)[1].bytes
        return encoded
