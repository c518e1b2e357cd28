"""The benchmark at toy size: its sections run to their ends, and their tables hold what they should."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
SECTIONS = ["flux", "parts", "klein", "server"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench")
    sections = ",".join(["rate", *SECTIONS])
    subprocess.run(
        [sys.executable, "bench.py", "--toy", "--out", str(out), "--sections", sections],
        cwd=HERE.parent,
        env={"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        timeout=300,
    )
    return json.loads((out / "bench.json").read_text())


def test_no_section_fails_or_is_left_out(results):
    assert {name: results[name].get("fault") for name in SECTIONS} == dict.fromkeys(SECTIONS)
    assert all("skipped" not in results[name] for name in SECTIONS)
    assert results["server"]["over_compute_ms"] > 0 and results["parts"]["decode_full"] > 0


@pytest.mark.parametrize(("section", "names"), [("flux", 10), ("klein", 2)])
def test_a_row_states_time_work_and_both_ratios(results, section, names):
    rows = results[section]["rows"]
    assert len(rows) == names
    first = next(iter(rows.values()))
    assert first["counted_ratio"] == first["measured_ratio"] == 1
    for row in rows.values():
        assert row["seconds"] > 0 and row["tflops"] > 0
        assert row["tflops_a_second"] == pytest.approx(row["tflops"] / row["seconds"])
        assert row["counted_ratio"] == pytest.approx(first["tflops"] / row["tflops"])


def test_forecast_steps_count_no_work(results):
    rows = results["flux"]["rows"]
    assert rows["5x + TaylorSeer, W = 2"]["tflops"] < rows["5x + TaylorSeer, W = 3"]["tflops"] < rows["5x"]["tflops"]


def test_nothing_is_said_of_the_goals_of_a_card(results):
    assert "goals" not in results
