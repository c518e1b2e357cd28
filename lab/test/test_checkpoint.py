"""A checkpoint comes back whole, within its limits, whenever its writer is killed."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
checkpoint = pytest.importorskip("checkpoint")

LIMITS = checkpoint.Limits(file_bytes=1000, files=8, all_bytes=64 * 2**20)


def tensors(seed: int) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {
        "weight": torch.randn(30, 40, generator=generator),
        "bias": torch.randn(7, generator=generator),
        "ids": torch.arange(5) + seed,
    }


def test_what_is_written_comes_back_in_half_precision_and_in_parts(tmp_path: Path):
    checkpoint.write(tmp_path, tensors(1), {"progress": 0.5}, LIMITS)
    found, facts = checkpoint.read(tmp_path)
    assert facts == {"progress": 0.5}
    assert torch.equal(found["weight"], tensors(1)["weight"].half())
    assert torch.equal(found["ids"], tensors(1)["ids"])
    parts = sorted(tmp_path.glob("checkpoint-0-*"))
    assert [part.stat().st_size for part in parts[:-1]] == [1000, 1000]
    assert 0 < parts[-1].stat().st_size <= 1000
    assert len(list(tmp_path.iterdir())) == len(parts) + 1


def test_a_new_generation_leaves_nothing_of_the_old_one(tmp_path: Path):
    checkpoint.write(tmp_path, tensors(1), {}, LIMITS)
    checkpoint.write(tmp_path, {"bias": torch.zeros(3)}, {}, LIMITS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1-0", "checkpoint.json"]
    assert torch.equal(checkpoint.read(tmp_path)[0]["bias"], torch.zeros(3).half())


def test_no_checkpoint_is_none_and_a_broken_one_says_so(tmp_path: Path):
    assert checkpoint.read(tmp_path) is None
    checkpoint.write(tmp_path, tensors(1), {}, LIMITS)
    part = tmp_path / "checkpoint-0-1"
    part.write_bytes(part.read_bytes()[:-1] + b"!")
    with pytest.raises(ValueError, match="checkpoint-0-1: not the bytes that were written"):
        checkpoint.read(tmp_path)
    part.unlink()
    with pytest.raises(ValueError, match="checkpoint-0-1: missing"):
        checkpoint.read(tmp_path)


def test_what_could_not_come_back_is_refused_before_the_work():
    mebi = 2**20
    limits = checkpoint.Limits(file_bytes=16 * mebi, files=8, all_bytes=64 * mebi)
    fits = {"weight": torch.empty(31 * mebi, device="meta")}
    assert checkpoint.size(fits) == 62 * mebi
    checkpoint.check_size(fits, limits, others=3)
    with pytest.raises(ValueError, match="limits are 67108864 bytes in 8 files of 16777216"):
        checkpoint.check_size(fits, limits, others=4)
    with pytest.raises(ValueError, match="68157440 bytes in 5 parts"):
        checkpoint.check_size({"weight": torch.empty(32 * mebi, device="meta")}, limits, others=0)


WRITER = """
import sys, torch, checkpoint
from pathlib import Path
number = 0
while True:
    number += 1
    tensors = {'weight': torch.full((40_000,), float(number % 1000)), 'number': torch.tensor([number])}
    checkpoint.write(Path(sys.argv[1]), tensors, {'number': number}, checkpoint.Limits(file_bytes=5000))
    print(number, flush=True)
"""


def test_a_killed_writer_leaves_a_whole_generation(tmp_path: Path):
    rng = random.Random(5)
    for _ in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, tmp_path], cwd=Path(checkpoint.__file__).parent, stdout=subprocess.PIPE
        )
        first = writer.stdout.readline()
        time.sleep(rng.uniform(0, 0.05))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        found, facts = checkpoint.read(tmp_path)
        assert facts["number"] >= int(first)
        assert found["number"].item() == facts["number"]
        assert torch.equal(found["weight"], torch.full((40_000,), float(facts["number"] % 1000)).half())
    checkpoint.write(tmp_path, tensors(1), {}, LIMITS)
    index = checkpoint.read_index(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint.json", *(part["file"] for part in index["parts"])}
