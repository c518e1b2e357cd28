"""What every script here has: where the service is, the key, and a way to tell the test what it saw."""

import json
import os

URL = os.environ["RALU_URL"]
KEY = os.environ["RALU_API_KEY"]


def say(**facts: object) -> None:
    """One line of JSON for the test; what JSON does not know is told as text."""
    print(json.dumps(facts, default=str), flush=True)
