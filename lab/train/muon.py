"""Muon for matrices, as torch.optim.Muon computes it but in fp32 and one batch a shape: its bfloat16 is emulated on
processors without it, hundreds of times slower than fp32.
"""

from collections import defaultdict

import torch

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Keller Jordan's quintic: https://kellerjordan.github.io/posts/muon/


def orthogonal(g: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """[b, m, n] → about U Vᵀ of each matrix's singular value decomposition: Newton-Schulz, singular values end near 1
    (0.7 to 1.2).
    """
    a, b, c = COEFFICIENTS
    tall = g.shape[1] > g.shape[2]
    x = g.mT if tall else g
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, then the orthogonal factor, scaled to the root mean square of an AdamW update (0.2 sqrt(max(m,
    n)), Moonshot's rule) so that one rate serves both.
    """

    def __init__(self, parameters, lr: float, momentum: float = 0.95, weight_decay: float = 0.01):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            shapes = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    shapes[parameter.shape].append(parameter)
            for (m, n), alike in shapes.items():
                updates = []
                for parameter in alike:
                    state = self.state[parameter]
                    if "momentum" not in state:
                        state["momentum"] = torch.zeros_like(parameter)
                    state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                    updates.append(parameter.grad.lerp(state["momentum"], group["momentum"]))
                for parameter, update in zip(alike, orthogonal(torch.stack(updates)), strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(
                        update, alpha=-group["lr"] * 0.2 * max(m, n) ** 0.5
                    )
