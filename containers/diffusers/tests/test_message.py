"""The binary format: golden messages of the contract, laws, and everything that is no message."""

from __future__ import annotations

import base64
import json
import pathlib

import numpy
import pytest

from ralu_stage.contract import events
from ralu_stage.contract.message import (
    FormatError,
    Message,
    decode_message,
    decode_messages,
    encode_message,
    read_json,
    write_json,
)

GOLDEN = pathlib.Path(__file__).parents[3] / "test/contract/golden"
LISTED = json.loads((GOLDEN / "messages.json").read_text())["messages"]


def listed_values(tensor: dict) -> numpy.ndarray:
    dtype = {"F32": numpy.float32, "U8": numpy.uint8}[tensor["dtype"]]
    if "base64" in tensor:
        values = numpy.frombuffer(base64.b64decode(tensor["base64"]), numpy.uint8)
    elif "values" in tensor:
        values = numpy.array(tensor["values"])
    else:
        fill = tensor["fill"]
        i = numpy.arange(int(numpy.prod(tensor["shape"])))
        values = ((fill["multiply"] * i) % fill["modulo"] - fill["subtract"]) / fill["divide"]
    return values.astype(dtype).reshape(tensor["shape"])


@pytest.mark.parametrize("listed", LISTED, ids=lambda listed: listed["file"])
def test_a_golden_message_reads_as_listed_and_is_written_byte_for_byte(listed):
    data = (GOLDEN / listed["file"]).read_bytes()
    message = decode_message(data)
    assert dict(message.metadata) == listed["metadata"]
    assert list(message.tensors) == list(listed["tensors"])
    for name, tensor in listed["tensors"].items():
        numpy.testing.assert_array_equal(message.tensors[name], listed_values(tensor), strict=True)
    assert encode_message(message) == data
    assert encode_message(Message(listed["metadata"], message.tensors)) == data


def test_every_golden_file_is_listed():
    assert sorted(path.name for path in GOLDEN.glob("*.safetensors")) == sorted(listed["file"] for listed in LISTED)


def test_events_are_written_as_the_golden_answers():
    def metadata(file: str) -> dict[str, str]:
        return dict(decode_message((GOLDEN / file).read_bytes()).metadata)

    step = metadata("answer-step.safetensors")
    assert events.step(1, 2, 1.0, 12.25) == step
    assert (
        encode_message(Message(events.step(1, 2, 1.0, 12.25), {})) == (GOLDEN / "answer-step.safetensors").read_bytes()
    )
    queued = metadata("answer-queued.safetensors")
    assert events.queued(int(queued["position"]), json.loads(queued["eta_ms"])) == queued
    error = metadata("answer-error.safetensors")
    assert events.error(error["code"], error["message"], error["retryable"] == "true") == error
    done = metadata("answer-done-cache.safetensors")
    values = {
        key: value if key in ("engine", "model_digest") else json.loads(value)
        for key, value in done.items()
        if key != "event"
    }
    assert events.done(**values) == done


def test_an_answer_is_a_sequence_of_messages():
    files = ["answer-queued", "answer-step", "answer-done-latents"]
    parts = [(GOLDEN / f"{file}.safetensors").read_bytes() for file in files]
    read = list(decode_messages(b"".join(parts)))
    assert [encode_message(message) for message in read] == parts
    assert list(decode_messages(b"")) == []
    with pytest.raises(FormatError):
        list(decode_messages(b"".join(parts)[:-1]))


def test_text_of_any_kind_survives():
    text = 'a\u0000\n"\\ é 苹果 🦊 \u2028 \ud800 \x7f'
    again = decode_message(encode_message(Message({"prompt": text}, {})))
    assert again.metadata["prompt"] == text


def message_of(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(dtype="F32", shape=(1,), data_offsets=(0, 4)) -> dict:
    return {"dtype": dtype, "shape": shape, "data_offsets": data_offsets}


BROKEN = {
    "nothing": b"",
    "too few bytes": b"1234567",
    "a header over the limit": b"\xff" * 8 + b"{}",
    "a cut header": message_of({})[:-1],
    "no JSON": message_of(b"{"),
    "NaN, which JSON has not": message_of(b'{"a": NaN}'),
    "nested without end": message_of(b"[" * 100_000),
    "another encoding": message_of("{}".encode("utf-16")),
    "broken UTF-8": message_of(b'{"\xff": 1}'),
    "no object": message_of([]),
    "metadata that is no object": message_of({"__metadata__": 1}),
    "metadata that is no string": message_of({"__metadata__": {"a": 1}}),
    "a tensor that is no object": message_of({"a": 1}),
    "another dtype": message_of({"a": entry("F16", (2,))}, b"1234"),
    "a dtype that is no text": message_of({"a": entry([])}, b"1234"),
    "a shape that is no list": message_of({"a": entry(shape=1)}, b"1234"),
    "a negative size": message_of({"a": entry(shape=(-1,))}, b"1234"),
    "half a size": message_of({"a": entry(shape=(0.5, 2))}, b"1234"),
    "a size that is a boolean": message_of({"a": entry(shape=(True,))}, b"1234"),
    "a size without end": message_of(b'{"a": {"dtype": "U8", "shape": [1e999], "data_offsets": [0, 4]}}', b"1234"),
    "more sizes than an array has": message_of({"a": entry(shape=[1] * 100)}, b"1234"),
    "three offsets": message_of({"a": entry(data_offsets=(0, 4, 8))}, b"1234"),
    "offsets that do not fill the shape": message_of({"a": entry(data_offsets=(0, 8))}, b"12345678"),
    "a hole": message_of({"a": entry(data_offsets=(4, 8))}, b"12345678"),
    "an overlap": message_of({"a": entry(), "b": entry(data_offsets=(2, 6))}, b"123456"),
    "too little data": message_of({"a": entry()}, b"123"),
    "too much data": message_of({"a": entry()}, b"12345"),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_what_is_no_message_is_said_to_be_none(data):
    with pytest.raises(FormatError):
        decode_message(data)


def test_whole_numbers_may_be_written_with_a_point():
    message = decode_message(message_of(b'{"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4.0]}}', b"1234"))
    assert message.tensors["a"].shape == (1,)


def test_an_empty_tensor_may_stand_anywhere():
    header = {"a": entry(shape=(0, 16), data_offsets=(4, 4)), "b": entry()}
    assert decode_message(message_of(header, b"1234")).tensors["a"].shape == (0, 16)


def test_only_tensors_of_the_contract_are_written():
    with pytest.raises(ValueError, match="float64"):
        encode_message(Message({}, {"a": numpy.zeros(1)}))
    with pytest.raises(ValueError, match="__metadata__"):
        encode_message(Message({}, {"__metadata__": numpy.zeros(1, numpy.float32)}))


def test_json_has_no_nan():
    for text in ("NaN", "Infinity", "-Infinity", "[" * 100_000, "1" * 10_000):
        with pytest.raises(ValueError):
            read_json(text)
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError):
            write_json(value)
    with pytest.raises(ValueError):
        events.queued(1, float("nan"))


def test_warnings_keep_to_their_limits():
    done = events.done(
        compute_ms=1.5,
        encode_text_ms=0.0,
        decode_ms=0.0,
        encode_ms=0.0,
        steps_done=1,
        evaluations=1,
        text_tokens=0,
        engine="e",
        model_digest="d",
        warnings=["w" * 3000] * 100,
    )
    warnings = json.loads(done["warnings"])
    assert len(warnings) == 64
    assert {len(warning) for warning in warnings} == {2000}
