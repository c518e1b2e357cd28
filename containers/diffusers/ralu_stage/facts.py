"""What a server says of its model at `/v1/models`: from its files, and from the operator where files say nothing."""

from __future__ import annotations

import math
from typing import Any

from ralu_stage.adapters.adapter import Adapter
from ralu_stage.flops import decoder_work, text_work
from ralu_stage.known import KNOWN, UNKNOWN, Licence
from ralu_stage.source import LoadError, Source, read_json
from ralu_stage.text.encoded import TextEncoder

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


def licence_of(source: Source, operator: dict[str, Any]) -> Licence:
    """The licence of the weights: as the operator says, as is known, or as the model card says."""
    if "licence" in operator:
        return Licence(operator["licence"], operator.get("sale", UNKNOWN))
    known = KNOWN.get(source.name.rsplit("/")[-1].lower())
    return known.licence if known else source.licence


def offered_sizes(least: int, most: int, multiple: int, longest: float) -> tuple[list[dict[str, int]], dict[str, Any]]:
    """Sizes and the rule for others, of pictures with `least` to `most` pixels and no side over `longest` pixels."""
    most = min(most, longest**2)
    sizes = [{"width": width, "height": height} for width, height in SIDES if max(width, height) <= longest]
    if not sizes:
        side = int(longest) // multiple * multiple
        sizes = [{"width": side, "height": side}]
    rule = {
        "multiple": multiple,
        "min_pixels": min(least, most),
        "max_pixels": most,
        "max_aspect": min(MOST_ASPECT, longest**2 / most),
    }
    return sizes, rule


def make_facts(
    source: Source, adapter: Adapter, text: TextEncoder, digest: str, operator: dict[str, Any]
) -> dict[str, Any]:
    """One entry of `/v1/models` without `engine_class` and `deterministic`.

    Raises LoadError for a schedule of noise levels that no shift describes, sizes beyond the model's positions, and
    guidance for a model that takes none.
    """
    family, transformer = source.family, source.configs["transformer"]
    known = KNOWN.get(source.name.rsplit("/")[-1].lower())
    side, is_hub = token_pixels(source), "/" in source.name
    longest = adapter.most_side * side if adapter.most_side else math.inf
    sizes, size_rule = offered_sizes(*family.pixels, multiple=2 * side, longest=longest)
    if "sizes" in operator:
        sizes, size_rule = operator["sizes"], operator.get("size_rule")
    check_sides(sizes, size_rule, longest)
    pixels = [size["width"] * size["height"] for size in sizes] + ([size_rule["max_pixels"]] if size_rule else [])
    max_tokens = max(pixels) // side**2
    steps = operator.get("steps", known.steps if known else default_steps(source))
    try:
        shift = adapter.shift(source.configs["scheduler"], steps, max_tokens)
    except ValueError as error:
        raise LoadError(f"scheduler/scheduler_config.json: {error}") from error
    guidance = default_guidance(source, known.guidance if known else None)
    if "guidance" in operator:
        if guidance is None:
            raise LoadError("the operator states guidance, which the model does not take")
        guidance |= operator["guidance"]
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
    stated = {field: value for field, value in operator.items() if field not in ("sale", "guidance", "size_rule")}
    return facts | stated


def check_sides(sizes: list[dict[str, int]], rule: dict[str, Any] | None, longest: float) -> None:
    """Raises LoadError for a picture with a side longer than the model has positions for, pixels."""
    sides = [max(size.values()) for size in sizes]
    if rule:
        sides.append(int(math.sqrt(rule["max_pixels"] * rule["max_aspect"])) // rule["multiple"] * rule["multiple"])
    if max(sides) > longest:
        raise LoadError(f"sizes allow a side of {max(sides)} pixels; the model has positions for {longest:g}")


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
