"""The types of the contract's JSON: numbers as JSON has them, and nothing taken for something else."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _as_whole_number(value: Any) -> Any:
    """JSON knows one kind of number: 64.0 is 64."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(_as_whole_number)
Positive = Annotated[int, Whole, Field(gt=0)]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class Fields(BaseModel):
    """An object of the contract. An unknown field, text for a number, NaN and a number for a boolean are errors."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)
