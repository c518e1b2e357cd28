"""The real server with the embedded model in PyTorch, until SIGTERM: its numbers are held to the ONNX server's.

STAGE_TOKEN=secret python tests/serve_embedded.py FOLDER PORT
"""

from __future__ import annotations

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from embedded import load_embedded

from ralu_stage.main import serve

if __name__ == "__main__":
    folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    sys.exit(serve(lambda: [load_embedded(folder)], token=os.environ["STAGE_TOKEN"], host="127.0.0.1", port=port))
