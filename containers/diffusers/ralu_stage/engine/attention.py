"""Which kernel of fused attention a device runs."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

HOPPER = (9, 0)
ORDER = [
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
]


def prefer_attention(device: torch.device) -> AbstractContextManager[Any]:
    """Within the block, for all threads: cuDNN's kernel first on cards from Hopper on, where it is torch's fastest, and
    each of the others where those before it cannot. Elsewhere torch's own order."""
    if device.type == "cuda" and torch.cuda.get_device_capability(device) >= HOPPER:
        return sdpa_kernel(ORDER, set_priority=True)
    return nullcontext()
