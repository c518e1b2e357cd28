"""The bytes of a stage request, as a stage that can be run, or the one sentence that says why not. Pure.

400   the bytes are no stage request: not safetensors, a field or tensor missing, of another type or rank
422   this server or this model cannot do it: a value out of range, an unknown model, a grid with holes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy
from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from ralu_stage.contract.cover import Cover, cover_fault
from ralu_stage.contract.facts import CacheKind, ModelFacts
from ralu_stage.contract.fields import Fields, Positive, Whole
from ralu_stage.contract.message import FormatError, Message, decode_message, read_json
from ralu_stage.contract.refusal import Refusal, show

MAX_STEPS = 1000
MAX_PROMPT = 32_000
MAX_ENLARGED_SIDE = 2048


def _readable(text: str) -> str:
    """The text without lone surrogates, which JSON can hold and nothing else can: U+FFFD instead of each."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _within_prompt_limit(text: str) -> str:
    """The limit counts UTF-16 units, as every JavaScript client and server of the contract does."""
    units = len(text.encode("utf-16-le")) // 2
    if units > MAX_PROMPT:
        raise ValueError(f"has {units} characters, expected at most {MAX_PROMPT}")
    return text


Text = Annotated[str, AfterValidator(_readable)]
Prompt = Annotated[str, AfterValidator(_readable), AfterValidator(_within_prompt_limit)]
Format = Literal["png", "webp", "jpeg"]


class Preview(Fields):
    """A small picture beside the result, `longest_side` in pixels."""

    # an older reader takes what it knows of it
    model_config = ConfigDict(extra="ignore")

    format: Format
    longest_side: Annotated[int, Whole, Field(ge=16, le=1024)]


class Cache(Fields):
    """Which steps are evaluated: the first `warmup`, and after them every `interval`-th. What is forecast in the
    others is the `kind`, with differences up to `order`."""

    kind: CacheKind
    interval: Annotated[int, Whole, Field(ge=2, le=100)]
    order: Annotated[int, Whole, Field(ge=0, le=4)]
    warmup: Annotated[int, Whole, Field(ge=1, le=1000)]

    def evaluates(self, step: int) -> bool:
        """Whether step `step`, from 1, evaluates the model."""
        return step <= self.warmup or (step - self.warmup) % self.interval == 0


class Enlarge(Fields):
    """The size that the finished image is encoded at, pixels."""

    width: Annotated[int, Whole, Field(gt=0, le=MAX_ENLARGED_SIDE)]
    height: Annotated[int, Whole, Field(gt=0, le=MAX_ENLARGED_SIDE)]


class StageOptions(Fields):
    """The metadata of a stage request. `width` and `height` are pixels of the final image, whatever grid this stage
    runs on."""

    model: Annotated[Text, Field(min_length=1)]
    prompt: Prompt
    negative_prompt: Prompt
    guidance: float | None
    width: Positive
    height: Positive
    decode: Literal["none", "clean", "image"]
    rgb: bool
    format: Format
    quality: Annotated[int, Whole, Field(ge=1, le=100)]
    preview: Preview | None
    cache: Cache | None
    traceparent: Text
    account_tag: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] | None = None
    solver: Literal["euler", "ab2"] = "euler"
    clean_latents: bool = False
    late_preview: bool = False
    enlarge: Enlarge | None = None

    def evaluates(self, step: int) -> bool:
        """Whether step `step`, from 1, evaluates the model; the others are forecast."""
        return self.cache is None or self.cache.evaluates(step)


_TEXTS = {"model", "prompt", "negative_prompt", "decode", "format", "traceparent", "account_tag", "solver"}


@dataclass(frozen=True)
class StageJob:
    """A stage that can be run as it stands. Its arrays are its own: running it may overwrite them."""

    model: str
    """the model's id, whichever of its names the request used"""
    options: StageOptions
    latents: numpy.ndarray
    """[n, 4C] float32, at noise level `sigmas[0]`"""
    img_ids: numpy.ndarray
    """[n, 3] float32, (0, row, column)"""
    scale: numpy.ndarray
    """[n] uint8, full-resolution tokens a side: 1 or 2"""
    sigmas: numpy.ndarray
    """[N + 1] float32, strictly decreasing in [0, 1]"""
    guidance: float | None
    """the request's, or the model's default where it says null; None where the model has none"""
    cover: Cover | None
    """None where nothing is decoded"""
    stage_id: str = ""
    """under which it was sent"""

    @property
    def steps(self) -> int:
        return len(self.sigmas) - 1


def parse_stage(body: bytes | bytearray | memoryview, models: Mapping[str, ModelFacts]) -> StageJob:
    """The stage that `body` asks for. `models` has the facts by id and alias. Raises Refusal with the first thing wrong
    with it."""
    try:
        message = decode_message(body)
    except FormatError as fault:
        raise Refusal(400, "not_safetensors", f"the body is not one safetensors message: {fault}") from None
    options = _parse_options(message.metadata)
    kinds = dict.fromkeys(kind for facts in models.values() for kind in facts.caches)
    if options.cache and options.cache.kind not in kinds:
        sentence = f"metadata cache.kind: got {options.cache.kind}, expected {' or '.join(kinds) or 'no cache'}"
        raise Refusal(400, "bad_metadata", sentence, "cache.kind")
    tensors = _parse_tensors(message)
    facts = models.get(options.model)
    if facts is None:
        known = ", ".join(dict.fromkeys(facts.id for facts in models.values()))
        raise Refusal(
            422, "unknown_model", f"model {show(options.model)} is not served here, expected one of: {known}", "model"
        )
    _check_options(options, facts)
    _check_tensors(tensors, facts)
    limits = facts.guidance
    guidance = options.guidance if options.guidance is not None or limits is None else limits.default
    return StageJob(
        model=facts.id,
        options=options,
        **tensors,
        guidance=None if guidance is None else float(guidance),
        cover=_find_cover(options, tensors, facts),
    )


def _parse_options(metadata: Mapping[str, str]) -> StageOptions:
    values: dict[str, Any] = {}
    for key, text in metadata.items():
        try:
            values[key] = text if key in _TEXTS else read_json(text)
        except ValueError:
            raise Refusal(400, "bad_metadata", f"metadata {show(key)} is not JSON", key) from None
    try:
        return StageOptions.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise Refusal(400, "bad_metadata", f"metadata {show(field)}: {first['msg']}", field) from None


_TENSORS = {"latents": "float32", "img_ids": "float32", "scale": "uint8", "sigmas": "float32"}


def _parse_tensors(message: Message) -> dict[str, numpy.ndarray]:
    """The four tensors, once their names, types, ranks and common length n agree."""
    tensors = dict(message.tensors)
    for name in tensors:
        if name not in _TENSORS:
            raise Refusal(400, "bad_tensor", f"tensor {show(name)} is unknown, expected {', '.join(_TENSORS)}", name)
    for name, dtype in _TENSORS.items():
        if name not in tensors:
            raise Refusal(400, "bad_tensor", f"tensor {name} is missing", name)
        if tensors[name].dtype != dtype:
            raise Refusal(400, "bad_tensor", f"tensor {name} has dtype {tensors[name].dtype}, expected {dtype}", name)
    if tensors["latents"].ndim != 2:
        raise _wrong_shape(tensors, "latents", "[n, 4 * channels]")
    n = len(tensors["latents"])
    if n < 1:
        raise Refusal(422, "no_tokens", "latents hold 0 tokens, expected at least 1", "latents")
    if tensors["img_ids"].shape != (n, 3):
        raise _wrong_shape(tensors, "img_ids", f"[{n}, 3]")
    if tensors["scale"].shape != (n,):
        raise _wrong_shape(tensors, "scale", f"[{n}]")
    if tensors["sigmas"].ndim != 1:
        raise _wrong_shape(tensors, "sigmas", "[N + 1]")
    return {name: tensors[name] for name in _TENSORS}


def _wrong_shape(tensors: Mapping[str, numpy.ndarray], name: str, expected: str) -> Refusal:
    shape = list(tensors[name].shape)[:8]
    return Refusal(400, "bad_tensor", f"tensor {name} has shape {shape}, expected {expected}", name)


def _check_options(options: StageOptions, facts: ModelFacts) -> None:
    model = facts.id
    _check_size(options.width, options.height, facts)
    limits = facts.guidance
    if options.guidance is not None and limits is None:
        raise Refusal(
            422, "unsupported_option", f"{model} has no guidance, got {options.guidance:g}, expected null", "guidance"
        )
    if options.guidance is not None and not limits.min <= options.guidance <= limits.max:
        raise Refusal(
            422,
            "out_of_range",
            f"guidance is {options.guidance:g}, expected {limits.min:g} to {limits.max:g}",
            "guidance",
        )
    # the text itself stays out of the answer: answers are logged by those who get them
    if options.negative_prompt != "" and not facts.negative_prompt:
        message = f"{model} takes no negative prompt, expected an empty one"
        raise Refusal(422, "unsupported_option", message, "negative_prompt")
    if options.rgb and options.decode != "clean":
        raise Refusal(422, "unsupported_option", f"rgb needs decode clean, got {options.decode}", "rgb")
    if options.clean_latents and options.decode == "image":
        message = "clean_latents needs decode none or clean, got image"
        raise Refusal(422, "unsupported_option", message, "clean_latents")
    if options.preview and options.decode == "none":
        raise Refusal(422, "unsupported_option", "a preview needs decode clean or image, got none", "preview")
    if options.late_preview and not (options.preview and options.decode == "clean"):
        got = f"{options.decode} and {'one' if options.preview else 'none'}"
        message = f"late_preview needs decode clean and a preview, got {got}"
        raise Refusal(422, "unsupported_option", message, "late_preview")
    if options.enlarge and options.decode != "image":
        raise Refusal(422, "unsupported_option", f"enlarge needs decode image, got {options.decode}", "enlarge")
    if options.cache and options.solver == "ab2":
        raise Refusal(422, "unsupported_option", "a cache needs solver euler, got ab2", "cache")
    if options.cache and options.cache.kind not in facts.caches:
        known = " or ".join(facts.caches) or "null"
        message = f"{model} has no cache {options.cache.kind}, expected {known}"
        raise Refusal(422, "unsupported_option", message, "cache")


def _check_size(width: int, height: int, facts: ModelFacts) -> None:
    rule = facts.size_rule
    if any((size.width, size.height) == (width, height) for size in facts.sizes) or (
        rule and rule.allows(width, height)
    ):
        return
    sizes = ", ".join(f"{size.width}x{size.height}" for size in facts.sizes)
    message = f"{facts.id} does not make {width}x{height}, expected one of: {sizes}"
    if rule:
        message += (
            f"; or sides that are multiples of {rule.multiple}, {rule.min_pixels} to {rule.max_pixels} pixels"
            f" together, the longer at most {rule.max_aspect:g} times the shorter"
        )
    raise Refusal(422, "unsupported_size", message, "width")


def _check_tensors(tensors: Mapping[str, numpy.ndarray], facts: ModelFacts) -> None:
    latents, img_ids, scale = tensors["latents"], tensors["img_ids"], tensors["scale"]
    n, width = latents.shape
    if width != 4 * facts.channels:
        message = f"latents hold {width} values a token, {facts.id} expects {4 * facts.channels}"
        raise Refusal(422, "out_of_range", message, "latents")
    if n > facts.max_tokens:
        message = f"{n} tokens, {facts.id} takes at most {facts.max_tokens}"
        raise Refusal(422, "too_many_tokens", message, "latents")
    _check_finite("latents", latents)
    _check_finite("img_ids", img_ids)
    frame = _first(img_ids[:, 0] != 0)
    if frame is not None:
        message = f"img_ids[{frame}, 0] is {img_ids[frame, 0]:g}, expected frame 0"
        raise Refusal(422, "out_of_range", message, "img_ids")
    odd = _first((scale != 1) & (scale != 2))
    if odd is not None:
        raise Refusal(422, "out_of_range", f"scale[{odd}] is {scale[odd]}, expected 1 or 2", "scale")
    _check_sigmas(tensors["sigmas"])


def _check_finite(name: str, values: numpy.ndarray) -> None:
    broken = _first(~numpy.isfinite(values).ravel())
    if broken is not None:
        row, column = divmod(broken, values.shape[1])
        message = f"{name}[{row}, {column}] is {values[row, column]}, expected a finite number"
        raise Refusal(422, "not_finite", message, name)


def _check_sigmas(sigmas: numpy.ndarray) -> None:
    if not 1 <= len(sigmas) - 1 <= MAX_STEPS:
        message = f"{len(sigmas)} sigmas, expected 2 to {MAX_STEPS + 1}: one more than there are steps"
        raise Refusal(422, "out_of_range", message, "sigmas")
    before = None
    for i, sigma in enumerate(sigmas.tolist()):
        if sigma != sigma:
            raise Refusal(422, "not_finite", f"sigmas[{i}] is NaN, expected a finite number", "sigmas")
        if not 0 <= sigma <= 1:
            raise Refusal(422, "out_of_range", f"sigmas[{i}] is {sigma:g}, expected 0 to 1", "sigmas")
        if before is not None and sigma >= before:
            message = f"sigmas[{i}] is {sigma:g} after {before:g}, expected strictly decreasing"
            raise Refusal(422, "not_decreasing", message, "sigmas")
        before = sigma


def _first(is_wrong: numpy.ndarray) -> int | None:
    return int(is_wrong.argmax()) if is_wrong.any() else None


def _find_cover(options: StageOptions, tensors: Mapping[str, numpy.ndarray], facts: ModelFacts) -> Cover | None:
    """How the tokens lie on the full grid, for stages that are decoded: every cell under exactly one token."""
    if options.decode == "none":
        return None
    img_ids, scale, sigmas = tensors["img_ids"], tensors["scale"], tensors["sigmas"]
    if options.decode == "image":
        if sigmas[-1] != 0:
            message = f"decode image with sigmas that end at {sigmas[-1]:g}, expected 0"
            raise Refusal(422, "unfinished_image", message, "sigmas")
        low = _first(scale == 2)
        if low is not None:
            message = f"decode image with scale[{low}] 2, expected every token at full resolution"
            raise Refusal(422, "unfinished_image", message, "scale")
    cover = cover_of(options, img_ids, scale, facts.token_pixels)
    fault = cover_fault(img_ids, scale, cover)
    if fault is not None:
        message = f"decode {options.decode} needs every cell of the {cover.rows} x {cover.cols} grid under exactly one"
        raise Refusal(422, "bad_grid", f"{message} token: {fault}", "img_ids")
    return cover


def cover_of(options: StageOptions, img_ids: numpy.ndarray, scale: numpy.ndarray, token_pixels: int) -> Cover:
    """The full grid that the tokens should cover, and the unit of their places."""
    # a mixed stage whose tokens are all upsampled still has the small grid's ids, halves among them; ids of whole
    # numbers alone are the full grid's
    unit = 2 if (scale == 2).any() or (img_ids % 1 != 0).any() else 1
    return Cover(options.height // token_pixels, options.width // token_pixels, unit)
