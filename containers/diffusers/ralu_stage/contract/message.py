"""The one binary format of requests and answers: safetensors messages.

    [u64 little-endian: length of header][header: JSON][data]

A message says its own length, so an answer is a sequence of them and a reader needs no other framing.
Source: https://huggingface.co/docs/safetensors (format section).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy

PREFIX_BYTES = 8
MAX_HEADER_BYTES = 512 * 1024
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

DTYPES = {"F32": numpy.dtype("<f4"), "U8": numpy.dtype("u1")}
_LARGEST_INTEGER = 2**53 - 1


class FormatError(ValueError):
    """Bytes that are not a safetensors message, with the place where they stop being one."""


@dataclass(frozen=True)
class Message:
    """Metadata values are strings, as the format demands; tensors are float32 or uint8 arrays, row-major."""

    metadata: Mapping[str, str]
    tensors: Mapping[str, numpy.ndarray]


def read_json(text: str) -> Any:
    """The value of a JSON text. Raises ValueError for anything JSON does not have, NaN and Infinity among it."""

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    try:
        return json.loads(text, parse_constant=refuse)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_json(value: Any) -> str:
    """The shortest JSON text of a value. Raises ValueError for NaN and infinities, which JSON does not have."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def encode_message(message: Message) -> bytes:
    """One message as bytes: tensors in the order of their names, the header padded with spaces to a multiple of 8.

    Law: `decode_message(encode_message(m))` equals m, and equal messages give equal bytes. Raises ValueError for a
    tensor of another dtype, or one called as the format's own `__metadata__`.
    """
    header: dict[str, Any] = {"__metadata__": dict(message.metadata)}
    parts: list[bytes] = []
    offset = 0
    for name, tensor in message.tensors.items():
        dtype = next((code for code, known in DTYPES.items() if tensor.dtype == known), None)
        if dtype is None or name in header:
            raise ValueError(f"tensor {name} has dtype {tensor.dtype}; expected float32 or uint8 and a name of its own")
        data = tensor.tobytes()
        header[name] = {"dtype": dtype, "shape": list(tensor.shape), "data_offsets": [offset, offset + len(data)]}
        parts.append(data)
        offset += len(data)
    # a lone surrogate has no UTF-8; as an escape it is JSON
    text = write_json(header).encode("utf-8", "backslashreplace")
    text += b" " * (-len(text) % 8)
    return b"".join([len(text).to_bytes(PREFIX_BYTES, "little"), text, *parts])


def decode_message(data: bytes | bytearray | memoryview) -> Message:
    """The one message that `data` holds; its tensors are copies. Raises FormatError when it is malformed, cut, or
    followed by anything."""
    message, length = _first_message(memoryview(data))
    if length != len(data):
        raise FormatError(f"the message ends after {length} bytes, {len(data) - length} more follow")
    return message


def decode_messages(data: bytes | bytearray | memoryview) -> Iterator[Message]:
    """The messages of an answer, one after the other. Raises FormatError where the bytes stop being one."""
    rest = memoryview(data)
    while len(rest) > 0:
        message, length = _first_message(rest)
        yield message
        rest = rest[length:]


class _Entry(NamedTuple):
    name: str
    dtype: numpy.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def _first_message(data: memoryview) -> tuple[Message, int]:
    if len(data) < PREFIX_BYTES:
        raise FormatError(f"{len(data)} bytes are too few for a message")
    length = int.from_bytes(data[:PREFIX_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        raise FormatError(f"a header of {length} bytes is over the limit of {MAX_HEADER_BYTES}")
    values = data[PREFIX_BYTES + length :]
    if len(data) < PREFIX_BYTES + length:
        raise FormatError(f"the header says {length} bytes, {len(data) - PREFIX_BYTES} follow")
    metadata, entries = _parse_header(bytes(data[PREFIX_BYTES : PREFIX_BYTES + length]))
    data_bytes = max((entry.end for entry in entries), default=0)
    if len(values) < data_bytes:
        raise FormatError(f"the header says {data_bytes} bytes of data, {len(values)} follow")
    tensors = {entry.name: _read_tensor(entry, values) for entry in entries}
    return Message(metadata, tensors), PREFIX_BYTES + length + data_bytes


def _read_tensor(entry: _Entry, values: memoryview) -> numpy.ndarray:
    array = numpy.empty(math.prod(entry.shape), entry.dtype)
    array.view("u1")[:] = values[entry.begin : entry.end]
    try:
        return array.reshape(entry.shape)
    except ValueError:  # more dimensions, or larger empty ones, than numpy has
        raise FormatError(f"tensor {entry.name}: a shape of {len(entry.shape)} sizes that no array has") from None


def _parse_header(text: bytes) -> tuple[dict[str, str], list[_Entry]]:
    try:
        header = read_json(text.decode("utf-8-sig"))
    except ValueError:
        raise FormatError("the header is not JSON") from None
    if not isinstance(header, dict):
        raise FormatError("the header is not an object")
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        raise FormatError("__metadata__ is not an object")
    for key, value in metadata.items():
        if not isinstance(value, str):
            raise FormatError(f"__metadata__.{key} is not a string")
    entries = [_parse_entry(name, value) for name, value in header.items()]
    # the format leaves no holes and no overlaps: by offsets (an empty tensor before the one that begins with it), each
    # begins where the last ended
    expected = 0
    for entry in sorted(entries, key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != expected:
            raise FormatError(f"tensor {entry.name}: begins at {entry.begin}, expected {expected}")
        expected = entry.end
    return metadata, entries


def _parse_entry(name: str, value: Any) -> _Entry:
    if not isinstance(value, dict):
        raise FormatError(f"tensor {name}: its entry is not an object")
    dtype, shape, offsets = value.get("dtype"), value.get("shape"), value.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise FormatError(f"tensor {name}: its dtype is not F32 or U8")
    if not isinstance(shape, list) or not all(map(_is_size, shape)):
        raise FormatError(f"tensor {name}: shape is not a list of sizes")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(map(_is_size, offsets)):
        raise FormatError(f"tensor {name}: data_offsets is not a pair of offsets")
    begin, end = map(int, offsets)
    if end - begin != math.prod(map(int, shape)) * DTYPES[dtype].itemsize:
        raise FormatError(f"tensor {name}: {end - begin} bytes do not fill {dtype} {shape}")
    return _Entry(name, DTYPES[dtype], tuple(map(int, shape)), begin, end)


def _is_size(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return float(value).is_integer() and 0 <= value <= _LARGEST_INTEGER
