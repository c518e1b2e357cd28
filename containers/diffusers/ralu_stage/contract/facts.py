"""What a server says of a model at `GET /v1/models`, and the rules that it keeps."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from ralu_stage.contract.fields import Fields, Name, Positive

CacheKind = Literal["taylor_velocity", "taylor_blocks"]

Text = Annotated[str, Field(max_length=2000)]
Work = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
EngineClass = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\x20-\x2b\x2d-\x7e]+$")]

_LEAST_STAGE = 0.001
_MAX_PRESET_STEPS = 1000


def _different(values: list[Any]) -> list[Any]:
    if len(set(values)) < len(values):
        raise ValueError("values must differ")
    return values


def _line(most: int) -> Any:
    return Annotated[str, Field(max_length=most, pattern=r"^\S(.*\S)?$")]


Different = AfterValidator(_different)
Words = Annotated[list[_line(100)], Field(max_length=2048), Different]


class Size(Fields):
    """Pixels."""

    width: Positive
    height: Positive


class SizeRule(Fields):
    """Sizes offered beside the listed ones: sides that are multiples of `multiple`, their product within limits, the
    longer side at most `max_aspect` times the shorter."""

    multiple: Positive
    min_pixels: Positive
    max_pixels: Positive
    max_aspect: Annotated[float, Field(ge=1)]

    def allows(self, width: int, height: int) -> bool:
        is_multiple = width % self.multiple == 0 and height % self.multiple == 0
        is_within = self.min_pixels <= width * height <= self.max_pixels
        return is_multiple and is_within and max(width, height) <= self.max_aspect * min(width, height)


class ShiftPoint(Fields):
    """The model's own shift at a number of full-resolution tokens."""

    tokens: Positive
    shift: Annotated[float, Field(gt=0)]


class Guidance(Fields):
    """`embedded`: an input of the model. `cfg`: above 1 each step evaluates the model twice."""

    min: float
    max: float
    default: float
    kind: Literal["embedded", "cfg"] = "embedded"

    @model_validator(mode="after")
    def _holds_its_default(self) -> Self:
        if not self.min <= self.default <= self.max:
            raise ValueError(f"default is {self.default}, expected {self.min} to {self.max}")
        return self


class Preset(Fields):
    """A schedule of the model's own: steps and ends of its stages, shares of tokens upsampled early between them."""

    name: Name
    N: Annotated[list[Positive], Field(min_length=2, max_length=8)]
    e: Annotated[list[float], Field(max_length=8)]
    r: Annotated[list[Share], Field(max_length=8)]

    @model_validator(mode="after")
    def _is_a_schedule(self) -> Self:
        if len(self.e) != len(self.N) or len(self.r) != len(self.N) - 2:
            raise ValueError("e must have as many values as N, and r two less")
        if sum(self.N) > _MAX_PRESET_STEPS:
            raise ValueError(f"N has {sum(self.N)} steps together, expected at most {_MAX_PRESET_STEPS}")
        stages = [end - start for start, end in itertools.pairwise([0, *self.e])]
        if self.e[-1] != 1 or min(stages) < _LEAST_STAGE * (1 - 1e-9):
            raise ValueError(f"e must rise to 1, by at least {_LEAST_STAGE} each time")
        if self.r != sorted(self.r):
            raise ValueError("r must not fall")
        return self


class Vocabulary(Fields):
    """Words that the model has learned, for those who write prompts."""

    objects: Words
    colours: Words
    backgrounds: Words
    counts: Words


# What emoji are read as.
EmojiNames = Annotated[
    dict[Annotated[str, Field(min_length=1, max_length=64)], _line(100)],
    Field(max_length=2048),
]


class Flops(Fields):
    """Work, 2 per multiply-add. One step with n image tokens is `fixed + per_token * n + per_token_squared * n²`."""

    per_token: Work
    per_token_squared: Work
    fixed: Work
    attention_per_token: Work
    attention_fixed: Work
    decode_per_pixel: Work
    text: Work


class ModelFacts(Fields):
    """Everything a plan needs of one model on one server."""

    id: Name
    aliases: Annotated[list[Name], Field(max_length=64)]
    family: Name | None = None
    channels: Positive
    token_pixels: Positive
    sizes: Annotated[list[Size], Field(min_length=1, max_length=256)]
    size_rule: SizeRule | None = None
    shift: Annotated[list[ShiftPoint], Field(min_length=1, max_length=256)]
    steps: Positive
    presets: Annotated[list[Preset], Field(max_length=32)] = Field(default_factory=list)
    guidance: Guidance | None
    negative_prompt: bool
    upsampling: Annotated[list[Literal["latent", "token"]], Field(min_length=1), Different] = Field(
        default_factory=lambda: ["latent", "token"]
    )
    caches: Annotated[list[CacheKind], Different] = Field(default_factory=lambda: ["taylor_velocity"])
    text_tokens: Positive
    max_tokens: Positive
    scripts: (
        Annotated[list[Annotated[str, Field(pattern=r"^[A-Z][A-Za-z_]*$")]], Field(min_length=1, max_length=64)] | None
    ) = None
    vocabulary: Vocabulary | None = None
    emoji: EmojiNames | None = None
    examples: Annotated[list[_line(500)], Field(min_length=1, max_length=16), Different] | None = None
    flops: Flops
    digest: Name
    licence: Text
    card: Text
    engine_class: EngineClass
    deterministic: bool

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        tokens = [point.tokens for point in self.shift]
        if any(after <= before for before, after in itertools.pairwise(tokens)):
            raise ValueError(f"shift has tokens {tokens}, expected rising ones")
        names = [preset.name for preset in self.presets]
        if len(set(names)) < len(names):
            raise ValueError(f"presets have the names {names}, expected different ones")
        for size in self.sizes:
            if size.width % self.token_pixels != 0 or size.height % self.token_pixels != 0:
                raise ValueError(
                    f"sizes has {size.width}x{size.height}, expected multiples of token_pixels, {self.token_pixels}"
                )
            self._check_fits(f"sizes has {size.width}x{size.height}", size.width * size.height)
        if self.size_rule is not None:
            if self.size_rule.multiple % self.token_pixels != 0:
                raise ValueError(
                    f"size_rule.multiple is {self.size_rule.multiple}, expected a multiple of {self.token_pixels}"
                )
            if self.size_rule.min_pixels > self.size_rule.max_pixels:
                raise ValueError("size_rule.min_pixels is over max_pixels, expected at most that")
            self._check_fits(f"size_rule.max_pixels is {self.size_rule.max_pixels}", self.size_rule.max_pixels)
        return self

    def _check_fits(self, what: str, pixels: int) -> None:
        tokens = pixels // self.token_pixels**2
        if tokens > self.max_tokens:
            raise ValueError(f"{what}, {tokens} tokens, expected at most max_tokens, {self.max_tokens}")


def check_facts(facts: dict[str, Any], engine_class: str, deterministic: bool) -> ModelFacts:
    """A model's facts once they keep the contract's rules. Raises ValueError that names the field, its value and the
    rule."""
    try:
        return ModelFacts.model_validate({**facts, "engine_class": engine_class, "deterministic": deterministic})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "facts"
        value = repr(first["input"])[:100] if field != "facts" else ""
        raise ValueError(f"{facts.get('id')}: {field} {value}: {first['msg']}") from None
