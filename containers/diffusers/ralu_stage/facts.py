"""What a server says of its model at `/v1/models`: from its files, and from the operator where files say nothing."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ralu_stage.adapters.adapter import Adapter
from ralu_stage.flops import decoder_work, text_work
from ralu_stage.known import KNOWN, UNKNOWN, Licence
from ralu_stage.source import LoadError, Source, read_json
from ralu_stage.text.encoded import TextEncoder

OPERATOR_FILE = "ralu.json"
OPERATOR_FIELDS = (
    *("id", "aliases", "family", "steps", "guidance", "sizes", "size_rule", "presets"),
    *("scripts", "vocabulary", "examples", "licence", "sale", "card"),
)
"""Fields that the operator's file may have. `sale` is for people at the start; the others are facts."""

MOST_ASPECT = 4
SIDES = [
    *((1024, 1024), (1152, 896), (896, 1152), (1216, 832), (832, 1216), (1344, 768), (768, 1344)),
    *((1536, 640), (640, 1536), (768, 768), (512, 512)),
]
"""Sizes offered by name; a rule allows others."""

FLUX2_PRESETS = {
    4: [{"name": "few", "N": [1, 1, 2], "e": [0.3, 0.45, 1.0], "r": [0.3]}],
    50: [
        {"name": "careful", "N": [5, 6, 7], "e": [0.3, 0.45, 1.0], "r": [0.3]},
        {"name": "fast", "N": [4, 5, 6], "e": [0.3, 0.45, 1.0], "r": [0.2]},
    ],
}
"""Nothing is published for FLUX.2. These are the schedules published for FLUX.1 with as many plain steps."""


def token_pixels(source: Source) -> int:
    """Image pixels that a token covers on each side: two latent pixels."""
    return 2 * 2 ** (len(source.configs["vae"]["block_out_channels"]) - 1)


def read_operator(source: Source, path: Path | None) -> dict[str, Any]:
    """The operator's fields: of a file, or of `ralu.json` beside the model. Raises LoadError for an unknown field."""
    path = path or source.folder / OPERATOR_FILE
    if not path.exists():
        return {}
    stated = read_json(path)
    for field in stated:
        if field not in OPERATOR_FIELDS:
            raise LoadError(f"{path.name} has the field {field}; known are {', '.join(OPERATOR_FIELDS)}")
    return stated


def licence_of(source: Source, operator: dict[str, Any]) -> Licence:
    """The licence of the weights: as the operator says, as is known, as the model card says."""
    known = KNOWN.get(source.name.rsplit("/")[-1].lower())
    found = known.licence if known else source.licence
    if "licence" in operator:
        return Licence(operator["licence"], operator.get("sale", UNKNOWN))
    return found


def make_facts(
    source: Source, adapter: Adapter, text: TextEncoder, digest: str, operator: dict[str, Any]
) -> dict[str, Any]:
    """One entry of `/v1/models` without `engine_class` and `deterministic`. Raises LoadError for a schedule of noise
    levels that no shift describes."""
    family, transformer = source.family, source.configs["transformer"]
    known = KNOWN.get(source.name.rsplit("/")[-1].lower())
    side, is_hub = token_pixels(source), "/" in source.name
    least, most = family.pixels
    sizes = operator.get("sizes", [{"width": width, "height": height} for width, height in SIDES])
    rule = {"multiple": 2 * side, "min_pixels": least, "max_pixels": most, "max_aspect": MOST_ASPECT}
    size_rule = operator.get("size_rule", None if "sizes" in operator else rule)
    pixels = [size["width"] * size["height"] for size in sizes] + ([size_rule["max_pixels"]] if size_rule else [])
    max_tokens = max(pixels) // side**2
    steps = operator.get("steps", known.steps if known else default_steps(source))
    try:
        shift = adapter.shift(source.configs["scheduler"], steps, max_tokens)
    except ValueError as error:
        raise LoadError(f"scheduler/scheduler_config.json: {error}") from error
    guidance = operator.get("guidance", default_guidance(source, known.guidance if known else None))
    is_cfg = guidance is not None and guidance["kind"] == "cfg"
    step_work = family.work(transformer, text.text_tokens, bool(transformer.get("guidance_embeds")))
    passes = 2 if is_cfg else 1
    facts = {
        "id": source.name.rsplit("/")[-1].lower(),
        "aliases": [source.name] if is_hub else [],
        "family": family.name,
        "channels": adapter.channels,
        "token_pixels": side,
        "sizes": sizes,
        "size_rule": size_rule,
        "shift": shift,
        "steps": steps,
        "guidance": guidance,
        "negative_prompt": is_cfg,
        "upsampling": list(family.upsampling),
        "caches": ["taylor_blocks", "taylor_velocity"],
        "text_tokens": text.text_tokens,
        "max_tokens": max_tokens,
        "scripts": list(family.scripts) if family.scripts else None,
        "flops": {
            **step_work.facts(passes),
            "decode_per_pixel": decode_per_pixel(source, sizes[0]["width"], sizes[0]["height"]),
            "text": encode_work(source, text) * passes,
        },
        "digest": digest,
        "licence": licence_of(source, operator).name,
        "card": f"https://huggingface.co/{source.name}" if is_hub else "",
    }
    if family.name == "flux.2" and steps in FLUX2_PRESETS:
        facts["presets"] = FLUX2_PRESETS[steps]
    return {**facts, **{field: value for field, value in operator.items() if field != "sale"}}


def default_steps(source: Source) -> int:
    """Plain steps of a model that is not known by name."""
    if source.family.name == "flux.1":
        return 50 if source.configs["transformer"].get("guidance_embeds") else 4
    if source.family.name == "flux.2":
        return 4 if is_distilled(source) else 50
    return 28


def default_guidance(source: Source, default: float | None) -> dict[str, Any] | None:
    """How the model takes guidance; `default` is its authors' value, where that is known."""
    if source.family.name == "flux.1":
        if not source.configs["transformer"].get("guidance_embeds"):
            return None
        return {"min": 1, "max": 10, "default": default or 3.5, "kind": "embedded"}
    if source.family.name == "flux.2" and is_distilled(source):
        return None
    return {"min": 1, "max": 20, "default": default or (4.0 if source.family.name == "flux.2" else 7.0), "kind": "cfg"}


def is_distilled(source: Source) -> bool:
    """Whether a FLUX.2 klein needs no classifier-free guidance, as its model_index.json says."""
    return bool(read_json(source.folder / "model_index.json").get("is_distilled", False))


def decode_per_pixel(source: Source, width: int, height: int) -> float:
    """Work of the decoder a pixel, at a size: attention in its middle makes it dearer in large pictures."""
    return decoder_work(source.family.vae, source.configs["vae"], width, height) / (width * height)


def encode_work(source: Source, text: TextEncoder) -> float:
    """Work of encoding one prompt with all text encoders, each with the tokens that it reads."""
    return math.fsum(
        text_work(kind, source.configs[name], text.tokens_of(name))
        for name, (_, kind) in source.components.items()
        if name.startswith("text_encoder")
    )
