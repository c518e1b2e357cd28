"""From a folder or hub id in diffusers' format to a model that serves stages."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from torch import nn

from ralu_stage.engine.compile import Compiled, static_counts
from ralu_stage.engine.diffusers_model import DiffusersModel
from ralu_stage.engine.engine_class import describe_engine
from ralu_stage.facts import licence_of, make_facts
from ralu_stage.memory import on_paper, show
from ralu_stage.model import ModelFailed, NotFinite
from ralu_stage.operator_facts import read_operator_facts
from ralu_stage.quantize import quantize
from ralu_stage.source import LoadError, Source, digest, open_source

log = logging.getLogger(__name__)

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
PUBLISHED_RATIOS = (0.1, 0.2, 0.3)
"""Shares that published presets upsample early; their mixed stages get compiled graphs of their own."""


@dataclass(frozen=True)
class LoadSettings:
    """How a model is loaded; the command line's options have these names."""

    dtype: str | None = None
    """bf16, fp16 or fp32; None is bf16 on CUDA and fp32 on a CPU"""
    quantize: str = "none"
    """none, fp8 or int8: the transformer's weights"""
    offload: str = "none"
    """none or text: text encoders stay on the CPU and compute there"""
    compile: bool = False
    device: str | None = None
    """cuda or cpu; None is cuda where there is one"""
    facts: Path | None = None
    """file with the operator's facts; None is ralu.json beside the model"""


def load_model(name: str, settings: LoadSettings) -> DiffusersModel:
    """The model of a folder, or of a hub id such as black-forest-labs/FLUX.1-schnell, ready to serve.

    Says in the log what the weights' licence is and what memory they need. Raises LoadError, one sentence, for a model
    that cannot be served: no pipeline of a known class, missing or broken weights.
    """
    quiet()
    device = torch.device(settings.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    dtype = DTYPES[settings.dtype or ("bf16" if device.type == "cuda" else "fp32")]
    source = open_source(name)
    operator = read_operator_facts(source, settings.facts)
    licence = licence_of(source, operator)
    log.info("%s: the weights are under %s: %s", source.name, licence.name, licence.sale)
    memory = on_paper(
        source, value_bytes=dtype.itemsize, quantize=settings.quantize, offload=settings.offload, pixels=1024 * 1024
    )
    log.info("%s: at 1024x1024 %s", source.name, memory.sentence())
    if device.type == "cuda" and memory.total > (free := torch.cuda.mem_get_info(device)[0]):
        log.warning("%s: the card has %s free, less than that", source.name, show(free))

    modules = {component: load_module(source, component, dtype) for component in source.models}
    pipeline_class = getattr(diffusers, source.pipeline)
    try:
        pipeline = pipeline_class.from_pretrained(
            source.folder, local_files_only=True, **modules, **dict.fromkeys(source.absent)
        )
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise LoadError(f"{source.pipeline} does not load: {first_line(error)}") from error

    transformer, vae = modules["transformer"], modules["vae"]
    try:
        adapter = source.family.adapter(transformer)
    except ValueError as error:
        raise LoadError(f"transformer: {error}") from error
    if settings.quantize != "none":
        try:
            quantize(transformer, settings.quantize, device)
        except ValueError as error:
            raise LoadError(str(error)) from error
    text_device = torch.device("cpu") if settings.offload == "text" else device
    try:
        for component, module in modules.items():
            module.to(text_device if component.startswith("text_encoder") else device)
    except torch.OutOfMemoryError as error:
        raise LoadError(f"the weights do not fit on the card: {first_line(error)}") from error
    text = source.family.text(pipeline, text_device)

    facts = make_facts(source, adapter, text, digest(source), operator)
    rows, cols = (facts["sizes"][0][side] // facts["token_pixels"] for side in ("height", "width"))
    counts = static_counts(rows, cols, PUBLISHED_RATIOS)
    compiled = Compiled(transformer, counts) if settings.compile else None
    model = DiffusersModel(
        facts=facts,
        engine_class=describe_engine(
            device, dtype, quantize=settings.quantize, offload=settings.offload, compiles=settings.compile
        ),
        # CUDA's kernels for attention and sums may add in any order; on a CPU the order depends on the threads alone
        deterministic=device.type == "cpu",
        device=device,
        adapter=adapter,
        text=text,
        vae=vae,
        compiled=compiled,
    )
    if device.type == "cuda" or compiled is not None:
        try:
            model.warm_up(records=compiled is not None)
            model.decode(torch.zeros(rows * cols, 4 * adapter.channels), rows, cols)
        except ModelFailed as failed:
            raise LoadError(f"the first step fails: {first_line(failed.cause)}") from failed
    try:
        model.fit_colours()
    except (ModelFailed, NotFinite) as failed:
        log.warning("%s: no thumbnails: %s", source.name, first_line(getattr(failed, "cause", failed)))
    return model


def load_module(source: Source, name: str, dtype: torch.dtype) -> nn.Module:
    """One component with its weights, on the CPU, in evaluation mode. Raises LoadError for weights that do not fit its
    configuration, or are not finite."""
    found = source.component_class(name)
    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "output_loading_info": True}
    options["torch_dtype" if source.components[name][0] == "diffusers" else "dtype"] = dtype
    try:
        module, info = found.from_pretrained(source.folder / name, **options)
    except Exception as error:
        raise LoadError(f"{name} does not load: {first_line(error)}") from error
    for problem in ("missing_keys", "mismatched_keys"):
        if info.get(problem):
            first = sorted(str(key) for key in info[problem])[0]
            raise LoadError(f"{name}: {len(info[problem])} {problem.replace('_', ' ')} in its weights, such as {first}")
    for path, values in [*module.named_parameters(), *module.named_buffers()]:
        if values.is_floating_point() and not torch.isfinite(values).all():
            raise LoadError(f"{name}: {path} holds NaN or infinity")
    return module.eval().requires_grad_(False)


def quiet() -> None:
    """Libraries log what they cut from a prompt, and draw progress; neither belongs in a server's log."""
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()


def first_line(error: BaseException) -> str:
    """The first line of what a library says, at most 300 characters."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)[:300]
