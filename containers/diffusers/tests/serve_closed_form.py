"""The real server with the closed-form model, until SIGTERM: for the conformance suite.

STAGE_TOKEN=secret python tests/serve_closed_form.py PORT
"""

from __future__ import annotations

import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from closed_form import ClosedForm

from ralu_stage.main import serve


def slowly(part: str) -> None:
    # a step takes a moment, so there is a running stage to attach to
    time.sleep(0.001 if part == "velocity" else 0)


if __name__ == "__main__":
    sys.exit(
        serve(lambda: [ClosedForm(slowly)], token=os.environ["STAGE_TOKEN"], host="127.0.0.1", port=int(sys.argv[1]))
    )
