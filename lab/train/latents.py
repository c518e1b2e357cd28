"""Latents as the transformer takes them: tokens of 2 x 2, which are 16 x 16 pixels."""

import torch


def pack(z: torch.Tensor) -> torch.Tensor:
    """latents [b, 16, 2h, 2w] → tokens [b, h * w, 64], values in the order (c, i, j)."""
    b, c, h, w = z.shape
    return z.reshape(b, c, h // 2, 2, w // 2, 2).permute(0, 2, 4, 1, 3, 5).reshape(b, h * w // 4, 4 * c)


def unpack(x: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
    """tokens [b, rows * cols, 64] → latents [b, 16, 2 rows, 2 cols]."""
    return x.reshape(-1, rows, cols, 16, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(-1, 16, 2 * rows, 2 * cols)


def grid_ids(rows: int, cols: int) -> torch.Tensor:
    """[rows * cols, 3]: (0, row, col)."""
    row, col = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
    return torch.stack([torch.zeros_like(row), row, col], -1).reshape(-1, 3).float()
