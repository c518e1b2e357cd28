"""What training the decoder and training the transformer share."""

import contextlib
from collections.abc import Iterable

import torch
import torch.nn as nn


def warm_then_fall(progress: float, step: int, warmup: int, hold: float = 0.5) -> float:
    """Learning rate as a share of its peak: linear up over `warmup` steps, flat, linear down to 0 from `hold` on."""
    return min(1.0, (step + 1) / warmup) * min(1.0, (1 - progress) / (1 - hold))


class EMA:
    """Exponential moving average of a module's parameters, in fp32; young averages forget faster."""

    def __init__(self, module: nn.Module, decay: float):
        self.decay, self.updates = decay, 0
        self.values = {k: v.detach().clone().float() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.updates += 1
        share = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        state = module.state_dict()
        torch._foreach_lerp_(list(self.values.values()), [state[k].float() for k in self.values], share)


def clip_gradients(clipped: Iterable[nn.Parameter], others: Iterable[nn.Parameter] = ()) -> torch.Tensor:
    """Norm of the gradients of `clipped`, which it scales down to 1. Where that is no number, all gradients of both
    become 0, so one bad batch does not spoil the weights for good; the device is not waited for.
    """
    clipped = list(clipped)
    norm = nn.utils.clip_grad_norm_(clipped, 1.0)
    is_bad = ~norm.isfinite()
    for parameter in (*clipped, *others):
        if parameter.grad is not None:
            parameter.grad.masked_fill_(is_bad, 0)
    return norm


def device() -> str:
    """Where to train. A GPU is also set up: attention without cuDNN, which builds a plan for every new length of text,
    a second each (https://github.com/modelscope/FunASR/issues/3704), and TensorFloat-32 for what stays in float32.
    """
    if not torch.cuda.is_available():
        return "cpu"
    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.set_float32_matmul_precision("high")
    return "cuda"


def mixed_precision(device: str) -> contextlib.AbstractContextManager:
    """bfloat16 where the hardware multiplies it; a processor that only emulates it is hundreds of times faster in
    float32.
    """
    is_native = (
        device == "cuda"
        or torch.cpu.get_capabilities().get("amx_bf16")
        or torch.cpu.get_capabilities().get("avx512_bf16")
    )
    return torch.autocast(device, torch.bfloat16) if is_native else contextlib.nullcontext()
