"""What an operator may say of a model, in a file: what no file of the model says, or says wrongly."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError

from ralu_stage.contract.facts import EmojiNames, Preset, Size, SizeRule, Text, Vocabulary
from ralu_stage.contract.fields import Fields, Name, Positive
from ralu_stage.source import LoadError, Source, read_json

FILE = "ralu.json"


class Range(Fields):
    """Of guidance; the model says which kind it is."""

    min: float
    max: float
    default: float


class OperatorFacts(Fields):
    """Fields of `/v1/models` by their names there, and `sale`: whether pictures may be sold, for the log at the start.

    Sizes of the operator's own come without the family's rule for others, unless the file has one too.
    """

    id: Name = ""
    aliases: Annotated[list[Name], Field(max_length=64)] = Field(default_factory=list)
    family: Name | None = None
    steps: Positive = 1
    guidance: Range | None = None
    sizes: Annotated[list[Size], Field(min_length=1, max_length=256)] = Field(default_factory=list)
    size_rule: SizeRule | None = None
    presets: Annotated[list[Preset], Field(max_length=32)] = Field(default_factory=list)
    scripts: list[Name] | None = None
    vocabulary: Vocabulary | None = None
    emoji: EmojiNames | None = None
    examples: list[Name] = Field(default_factory=list)
    licence: Text = ""
    sale: Text = ""
    card: Text = ""


def read_operator_facts(source: Source, path: Path | None) -> dict[str, Any]:
    """The fields that a file states: the one named, or `ralu.json` beside the model where there is one.

    Raises LoadError for a named file that is not there, and for a field that is unknown or breaks its rule.
    """
    if path is None:
        path = source.folder / FILE
        if not path.exists():
            return {}
    stated = read_json(path)
    try:
        return OperatorFacts.model_validate(stated).model_dump(exclude_unset=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise LoadError(f"{path.name}: {field}: {first['msg']}") from error
