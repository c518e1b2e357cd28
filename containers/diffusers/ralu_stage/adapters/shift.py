"""A model's own shift of its noise schedule, from the configuration of its scheduler. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

OTHER_SCHEDULES = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "invert_sigmas", "shift_terminal")


def check_schedule(scheduler: Mapping[str, Any]) -> None:
    """Raises ValueError for a scheduler whose noise levels are no shifted line from 1 to 0."""
    for name in OTHER_SCHEDULES:
        if scheduler.get(name):
            raise ValueError(f"{name} is {scheduler[name]}; expected a schedule that a shift describes")
    if scheduler.get("use_dynamic_shifting") and scheduler.get("time_shift_type", "exponential") != "exponential":
        raise ValueError(f"time_shift_type is {scheduler['time_shift_type']}; expected exponential")


def shift_by_tokens(scheduler: Mapping[str, Any]) -> list[dict[str, float]]:
    """Points {tokens, shift}: one for a constant shift, two where log(shift) is linear in the number of tokens.

    Defaults are those of FLUX.1, 0.5 at 256 tokens and 1.15 at 4096. Raises ValueError as check_schedule does.
    """
    check_schedule(scheduler)
    if not scheduler.get("use_dynamic_shifting"):
        return [{"tokens": 4096, "shift": float(scheduler.get("shift", 1.0))}]
    return [
        {"tokens": scheduler.get("base_image_seq_len", 256), "shift": math.exp(scheduler.get("base_shift", 0.5))},
        {"tokens": scheduler.get("max_image_seq_len", 4096), "shift": math.exp(scheduler.get("max_shift", 1.15))},
    ]
