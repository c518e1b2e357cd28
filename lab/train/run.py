"""What training the decoder and training the transformer share."""

import contextlib

import torch


def warm_then_fall(progress: float, step: int, warmup: int, hold: float = 0.5) -> float:
    """Learning rate as a share of its peak: linear up over `warmup` steps, flat, linear down to 0 from `hold` on."""
    return min(1.0, (step + 1) / warmup) * min(1.0, (1 - progress) / (1 - hold))


class EMA:
    """Exponential moving average of a module's parameters, in fp32; young averages forget faster."""

    def __init__(self, module: torch.nn.Module, decay: float):
        self.decay, self.updates = decay, 0
        self.values = {k: v.detach().clone().float() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: torch.nn.Module) -> None:
        self.updates += 1
        share = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        state = module.state_dict()
        torch._foreach_lerp_(list(self.values.values()), [state[k].float() for k in self.values], share)


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


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
