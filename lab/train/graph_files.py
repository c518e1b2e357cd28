"""One ONNX graph in files of limited size: a graph that is too large keeps its large constants in parts, which the
manifest lists beside it. The same graph gives the same files.
"""

import math
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALLEST = 1024  # bytes of a constant that moves to a part
ALIGNMENT = 64  # of a constant in its part


def write(model: onnx.ModelProto, path: str, largest: int) -> dict:
    """Writes the graph, and its parts beside it as NAME.0.bin, NAME.1.bin, …, none larger than `largest` bytes; its
    entry in the manifest. A graph that fits stays one file. Raises ValueError when no split makes it fit.
    """
    name, folder = os.path.basename(path), os.path.dirname(path)
    stem = name.removesuffix(".onnx")
    graph, parts = split(model, largest, lambda number: f"{stem}.{number}.bin")
    for part, content in [(name, graph.SerializeToString(deterministic=True)), *parts.items()]:
        if len(content) > largest:
            raise ValueError(f"{part} has {len(content)} bytes; expected at most {largest}")
        with open(os.path.join(folder, part), "wb") as file:
            file.write(content)
    return {
        "file": name,
        **({"parts": list(parts)} if parts else {}),
        "inputs": [value.name for value in model.graph.input],
        "outputs": [value.name for value in model.graph.output],
    }


def split(model: onnx.ModelProto, largest: int, name_of) -> tuple[onnx.ModelProto, dict[str, bytes]]:
    """(the graph without its large constants, the parts by name), as ONNX's external data; (`model`, {}) where it fits.
    A constant that no part can hold is cut along its first axis, and the graph joins it.
    """
    if model.ByteSize() <= largest:
        return model, {}
    result = onnx.ModelProto()
    result.CopyFrom(model)
    constants = cut(result.graph, largest)
    del result.graph.initializer[:]
    parts: list[bytearray] = [bytearray()]
    for constant in constants:
        content = constant.raw_data
        if len(content) >= SMALLEST:
            parts[-1].extend(bytes(-len(parts[-1]) % ALIGNMENT))
            if len(parts[-1]) + len(content) > largest:
                parts.append(bytearray())
            constant = moved(constant, name_of(len(parts) - 1), len(parts[-1]))
            parts[-1].extend(content)
        result.graph.initializer.append(constant)
    return result, {name_of(number): bytes(part) for number, part in enumerate(parts)}


def cut(graph: onnx.GraphProto, largest: int) -> list[TensorProto]:
    """The graph's constants with their bytes as raw data, in order, none above `largest`; nodes that join those that
    were cut now begin the graph.
    """
    constants, joins = [], []
    for constant in graph.initializer:
        values = numpy_helper.to_array(constant)
        if values.nbytes <= largest:
            constants.append(numpy_helper.from_array(values, constant.name))
            continue
        rows = largest * len(values) // values.nbytes
        if rows == 0:
            row = values.nbytes // len(values)
            raise ValueError(f"a row of {constant.name} has {row} bytes; expected at most {largest}")
        count = math.ceil(len(values) / rows)
        names = [f"{constant.name}_{number}" for number in range(count)]
        pieces = np.array_split(values, count)
        constants += [numpy_helper.from_array(piece, name) for name, piece in zip(names, pieces, strict=True)]
        joins.append(helper.make_node("Concat", names, [constant.name], axis=0))
    nodes = joins + list(graph.node)
    del graph.node[:]
    graph.node.extend(nodes)
    return constants


def moved(constant: TensorProto, part: str, offset: int) -> TensorProto:
    """The constant as a reference to its bytes in a part."""
    result = TensorProto(name=constant.name, data_type=constant.data_type, dims=constant.dims)
    result.data_location = TensorProto.EXTERNAL
    for key, value in {"location": part, "offset": offset, "length": len(constant.raw_data)}.items():
        result.external_data.add(key=key, value=str(value))
    return result
