"""What decides the numbers beside the weights, as one text: the contract's engine class."""

from __future__ import annotations

import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path

import torch


def describe_engine(device: torch.device, dtype: torch.dtype, *, quantize: str, offload: str, compiles: bool) -> str:
    """Runtime, device, type of the values, libraries and what else changes rounding. Printable ASCII without commas.

    Law: on a CPU two engines of one class give the same bytes.
    """
    libraries = f"diffusers/{version('diffusers')} transformers/{version('transformers')}"
    kind = str(dtype).removeprefix("torch.")
    torch_version = torch.__version__.split("+")[0]
    if device.type == "cuda":
        card = re.sub(r"[^A-Za-z0-9]+", "-", torch.cuda.get_device_name(device)).strip("-")
        parts = [
            f"torch/{torch_version} cuda/{torch.version.cuda} {card} {kind} cudnn/{torch.backends.cudnn.version()}",
            libraries,
        ]
        if offload == "text":
            parts.append(f"text={processor()}")
    else:
        parts = [f"torch/{torch_version} cpu {processor()} {kind} threads={torch.get_num_threads()}", libraries]
    if quantize != "none":
        parts.append(f"{quantize} torchao/{version('torchao')}")
    if compiles:
        parts.append("compiled")
    return " ".join(parts)


def processor() -> str:
    """System, instruction set by which torch picks kernels, and maker, by which MKL does: `linux-x64+avx512+amd`."""
    machine = {"x86_64": "x64", "AMD64": "x64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    words = [f"{sys.platform}-{machine}", torch.backends.cpu.get_cpu_capability().lower()]
    try:
        maker = re.search(r"^vendor_id\s*: (\w+)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        maker = None
    if maker:
        words.append({"AuthenticAMD": "amd", "GenuineIntel": "intel"}.get(maker[1], maker[1].lower()))
    return "+".join(words)
