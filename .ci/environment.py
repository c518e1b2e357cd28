"""Makes a Python environment from a lock file and prints its Python: `environment.py NAME LOCK`.

It lies outside the tree, as ralu-NAME-HASH in the cache folder, and is kept as long as the lock file and Python are the
same.
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys

name, lock = sys.argv[1:]
pins = hashlib.sha256(pathlib.Path(lock).read_bytes() + sys.version.encode()).hexdigest()[:16]
cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
venv, made = cache / f"ralu-{name}-{pins}", cache / f"ralu-{name}-{pins}.{os.getpid()}"


def run(*command: str | pathlib.Path) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)


if not venv.exists():
    run(sys.executable, "-m", "venv", made)
    pip = [made / "bin/python", "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-deps"]
    run(*pip, "--require-hashes", "-r", lock)
    try:
        made.rename(venv)
    except OSError:  # another run was faster
        shutil.rmtree(made)
print(venv / "bin/python")
