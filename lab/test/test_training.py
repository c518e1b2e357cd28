"""The recipe as a whole, at toy size on a processor: prepared, begun, killed, resumed, ended, exported."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("diffusers")

LAB = Path(__file__).resolve().parents[1]


def command(script: str, *options: str) -> list[str]:
    return [sys.executable, "-u", str(LAB / "train" / script), *options]


def run(script: str, *options: str, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(command(script, *options), cwd=folder, capture_output=True, text=True)


def train(folder: Path, *options: str) -> subprocess.CompletedProcess:
    return run("train.py", "--size", "toy", *options, folder=folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With prepared data in `.ralu/train/data`."""
    made = tmp_path_factory.mktemp("training")
    done = run("prepare.py", "--scale", ".0005", "--has", "none", folder=made)
    assert done.returncode == 0, done.stderr
    return made


def index(out: Path) -> dict:
    return json.loads((out / "checkpoint.json").read_text())


def test_a_killed_command_is_resumed_and_the_end_is_exported(folder: Path):
    out = folder / ".ralu/train/out"
    options = ("--size", "toy", "--seconds", "600", "--every", "1", "--to", ".9")
    first = subprocess.Popen(
        command("train.py", *options), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    )
    limit = time.monotonic() + 300
    while not (out / "checkpoint.json").exists() or index(out)["facts"]["progress"] == 0:
        assert first.poll() is None, "ended before it was killed"
        assert time.monotonic() < limit
        time.sleep(0.2)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    reached = index(out)["facts"]

    second = train(folder, "--seconds", "60", "--to", ".5", "--compiler", "aot_eager")
    assert second.returncode == 0, second.stderr
    told = second.stdout.split("goes on from .ralu/train/state.pt at progress ")
    assert len(told) == 2, second.stdout
    assert float(told[1].split()[0]) == pytest.approx(reached["progress"], abs=0.01)
    assert index(out)["facts"]["progress"] == 0.5
    assert index(out)["facts"]["step"] > reached["step"]
    # the decoder had been trained
    times = {row["phase"]: row for row in json.loads((out / "times.json").read_text())}
    assert times["decoder"]["taken"] == 0
    assert times["transformer"]["taken"] > 0

    # another machine, which has what came back and no more
    (folder / ".ralu/train/state.pt").unlink()
    back = folder / "back"
    out.rename(back)
    third = train(folder, "--seconds", "60", "--resume", str(back))
    assert third.returncode == 0, third.stderr
    assert f"goes on from {back} at progress 0.500" in third.stdout
    assert index(out)["facts"]["progress"] == 1

    over = train(folder, "--seconds", "60")
    assert over.returncode != 0
    assert "progress 1.000 is past --to 1: nothing is left to train" in over.stderr

    exported = run("export.py", "--out", "model", folder=folder)
    assert exported.returncode == 0, exported.stderr
    assert "ONNX Runtime differs from PyTorch by at most" in exported.stdout
    manifest = json.loads((folder / "model/manifest.json").read_text())
    assert set(manifest["graphs"]) >= {"text_encoder", "transformer", "decoder", "encoder"}


def test_gradients_that_are_no_numbers_end_a_training_and_spoil_no_weights(folder: Path, tmp_path: Path):
    import torch
    from safetensors.torch import load_file, save_file

    import checkpoint

    data = tmp_path / "data"
    shutil.copytree(folder / ".ralu/train/data", data)
    components = load_file(data / "components.safetensors")
    components["scale"][3] = 0  # the encoder divides by it
    save_file(components, data / "components.safetensors")
    ended = train(tmp_path, "--data", str(data), "--seconds", "120", "--out", "out", "--state", "state.pt")
    assert ended.returncode != 0
    assert "50 steps in a row had gradients that are no numbers" in ended.stderr
    tensors, facts = checkpoint.read(tmp_path / "out")
    assert facts["decoder_trained"]
    assert all(torch.isfinite(each).all() for each in tensors.values())


def test_packages_that_the_model_does_not_need_may_be_broken(tmp_path: Path):
    for name in ("transformers", "peft", "accelerate"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("raise ImportError('huggingface-hub<2.0 is required')\n")
        about = tmp_path / f"{name}-9.0.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.0.0\n")
    draw = """
import torch, transformer
model = transformer.Velocity(9, transformer.CONFIGS["toy"])
model(torch.zeros(1, 4, 64), torch.ones(1), torch.zeros(1, 2, dtype=torch.int64), torch.zeros(4, 3))
"""
    done = subprocess.run(
        [sys.executable, "-c", draw],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(LAB / "train")])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_what_cannot_come_back_is_refused_before_it_is_trained(folder: Path):
    refused = train(folder, "--seconds", "60", "--out", "small", "--state", "small.pt", "--all-bytes", "1000000")
    assert refused.returncode != 0
    assert "limits are 1000000 bytes in 8 files of 16777216" in refused.stderr
    assert not (folder / "small").exists()


def test_what_cannot_travel_is_refused(folder: Path):
    refused = run(
        "prepare.py", "--scale", ".0001", "--has", "none", "--out", "small", "--all-bytes", "1000", folder=folder
    )
    assert refused.returncode != 0
    assert "bytes would travel; the limit is 1000" in refused.stderr


def test_a_training_of_another_size_is_not_gone_on_with(folder: Path, tmp_path: Path):
    import checkpoint

    facts = {"size": "full", "progress": 0.5, "step": 3, "seconds": 1, "decoder_trained": False}
    checkpoint.write(tmp_path, {}, facts, checkpoint.Limits())
    refused = train(folder, "--seconds", "60", "--out", str(tmp_path), "--state", "none.pt")
    assert refused.returncode != 0
    assert "holds a training of size 'full', not 'toy'" in refused.stderr
