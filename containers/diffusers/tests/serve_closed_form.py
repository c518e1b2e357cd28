"""The real server with the closed-form model, until SIGTERM: for the conformance suite and tests of the process.

STAGE_TOKEN=secret python tests/serve_closed_form.py --port 8788
"""

from __future__ import annotations

import argparse
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


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--load-s", type=float, default=0, help="how long loading takes")
    flags = parser.parse_args()

    def load() -> list[ClosedForm]:
        time.sleep(flags.load_s)
        return [ClosedForm(slowly)]

    os._exit(serve(load, token=os.environ["STAGE_TOKEN"], host="127.0.0.1", port=flags.port))


if __name__ == "__main__":
    main()
