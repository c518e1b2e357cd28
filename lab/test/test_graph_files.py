"""Graphs that are too large for one file."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

import graph_files  # noqa: E402


def product(shapes: list[tuple[int, int]], kind: type = np.float32) -> "onnx.ModelProto":
    """x [1, rows of the first] times one random matrix after the other."""
    rng, nodes, constants, value = np.random.default_rng(3), [], [], "x"
    for i, shape in enumerate(shapes):
        constants.append(numpy_helper.from_array(rng.normal(size=shape).astype(kind), f"m{i}"))
        nodes.append(helper.make_node("Cast", [f"m{i}"], [f"f{i}"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("MatMul", [value, f"f{i}"], [f"y{i}"]))
        value = f"y{i}"
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, shapes[0][0]])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, [1, shapes[-1][1]])],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def answer(path: Path, inputs: int) -> np.ndarray:
    x = np.sin(np.arange(inputs, dtype=np.float32))[None]
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def test_a_graph_that_fits_stays_one_file(tmp_path: Path):
    model = product([(64, 64)])
    entry = graph_files.write(model, str(tmp_path / "small.onnx"), 100_000)
    assert entry == {"file": "small.onnx", "inputs": ["x"], "outputs": ["y0"]}
    assert [path.name for path in tmp_path.iterdir()] == ["small.onnx"]
    assert (tmp_path / "small.onnx").read_bytes() == model.SerializeToString(deterministic=True)


@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_one_that_does_not_gives_the_same_numbers_from_parts_within_the_limit(tmp_path: Path, kind: type):
    largest = 20_000
    # the second matrix alone is above the limit, so it is cut
    model = product([(64, 50), (50, 300), (300, 8), (8, 3)], kind)
    onnx.save(model, str(tmp_path / "whole.onnx"))
    entry = graph_files.write(model, str(tmp_path / "split.onnx"), largest)
    parts = entry["parts"]
    assert parts == [f"split.{i}.bin" for i in range(len(parts))]
    assert len(parts) >= 3
    sizes = [(tmp_path / name).stat().st_size for name in [entry["file"], *parts]]
    assert max(sizes) <= largest
    assert sizes[0] < 3000
    np.testing.assert_array_equal(answer(tmp_path / "split.onnx", 64), answer(tmp_path / "whole.onnx", 64))


def test_what_does_not_fit_is_refused_by_name_and_size(tmp_path: Path):
    with pytest.raises(ValueError, match=r"a row of m0 has 1200 bytes; expected at most 1100"):
        graph_files.write(product([(5, 300)]), str(tmp_path / "a.onnx"), 1100)
    with pytest.raises(ValueError, match=r"b\.onnx has \d+ bytes; expected at most 1000"):
        graph_files.write(product([(3, 3)] * 30), str(tmp_path / "b.onnx"), 1000)


def test_the_same_graph_gives_the_same_files_in_another_process(tmp_path: Path):
    program = (
        "import sys, json, hashlib, pathlib, graph_files, test_graph_files as t;"
        "folder = pathlib.Path(sys.argv[1]);"
        "graph_files.write(t.product([(64, 50), (50, 300)]), str(folder / 'g.onnx'), 20_000);"
        "print(json.dumps({f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in sorted(folder.iterdir())}))"
    )
    found = []
    for i in range(2):
        (tmp_path / str(i)).mkdir()
        ran = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / str(i))],
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": str(i + 1)},
            capture_output=True,
            text=True,
            check=True,
        )
        found.append(json.loads(ran.stdout))
    assert len(found[0]) >= 4
    assert found[0] == found[1]
