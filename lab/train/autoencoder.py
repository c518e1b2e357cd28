"""The autoencoder: 3 channels to 16 at an eighth of each side and back.

The encoder is linear: the 16 principal components of 8 x 8 patches. So latents are as smooth as pictures, which a small
denoiser learns far sooner than what a trained encoder hides in them. The decoder adds to the components' own pictures
what their neighbours tell about the rest; it has no normalisation layer, so a crop trains it as well as a picture.
Loss: L1 + squared error + L1 of the gradients, with a little noise on the latents so that the decoder forgives a
denoiser's errors, and with some crops enlarged from half size, so that it restores those as they are.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import run
import time_plan

NOISE = 0.05
RATE = 2e-3
SPREAD = 1 / 3  # a component's deviation in the latents is this power of its deviation relative to the first one's


class ResBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Encoder(nn.Module):
    """rgb [b, 3, 8h, 8w] in [-1, 1] → latents [b, 16, h, w] as the transformer knows them: mean 0, deviation 1 for the
    first component and less for each further one.
    """

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.PixelUnshuffle(8), nn.Conv2d(192, 16, 1))

    def forward(self, x):
        return self.net(x)


class Decoder(nn.Module):
    """latents [b, 16, h, w] → rgb [b, 3, 8h, 8w], about [-1, 1]: what the components say, plus what is learned."""

    def __init__(self, a=192, b=96, c=32):
        super().__init__()
        grow = nn.PixelShuffle(2)
        self.linear = nn.Sequential(nn.Conv2d(16, 192, 1), nn.PixelShuffle(8))
        self.net = nn.Sequential(
            nn.Conv2d(16, a, 3, padding=1),
            ResBlock(a),
            nn.Conv2d(a, 4 * b, 3, padding=1),
            grow,
            ResBlock(b),
            nn.Conv2d(b, 4 * c, 3, padding=1),
            grow,
            ResBlock(c),
            nn.ReLU(),
            nn.Conv2d(c, 12, 3, padding=1),
            grow,
        )
        nn.init.zeros_(self.net[-2].weight)
        nn.init.zeros_(self.net[-2].bias)

    def forward(self, latent_sample):
        return self.linear(latent_sample) + self.net(latent_sample)


def fit_components(pictures: list[np.ndarray]) -> dict[str, torch.Tensor]:
    """Mean [192] and components [16, 192] of 8 x 8 patches (values in the order (c, y, x)) of pictures uint8 [h, w, 3],
    and each one's scale [16]: patch = mean + Σ latent · scale · component.
    """
    total, count = torch.zeros(192, dtype=torch.float64), 0
    products = torch.zeros(192, 192, dtype=torch.float64)
    for picture in pictures:
        patches = F.pixel_unshuffle(to_float(torch.tensor(picture)[None]), 8)[0].flatten(1).double()
        total += patches.sum(1)
        products += patches @ patches.T
        count += patches.shape[1]
    mean = total / count
    variance, components = torch.linalg.eigh(products / count - mean[:, None] * mean)  # ascending
    components, deviation = components.T.flip(0)[:16], variance.flip(0)[:16].sqrt()
    components = components * components.sum(1, keepdim=True).sign()
    scale = deviation ** (1 - SPREAD) * deviation[0] ** SPREAD
    return {"mean": mean.float(), "components": components.float(), "scale": scale.float()}


def encoder(components: dict[str, torch.Tensor]) -> Encoder:
    result = Encoder().requires_grad_(False)
    weight = components["components"] / components["scale"][:, None]
    result.net[1].weight.copy_(weight[:, :, None, None])
    result.net[1].bias.copy_(-weight @ components["mean"])
    return result.eval()


def untrained_decoder(components: dict[str, torch.Tensor]) -> Decoder:
    """The components' own pictures."""
    result = Decoder()
    with torch.no_grad():
        weight = (components["components"] * components["scale"][:, None]).T
        result.linear[0].weight.copy_(weight[:, :, None, None])
        result.linear[0].bias.copy_(components["mean"])
    return result


def to_float(pictures: torch.Tensor) -> torch.Tensor:
    """uint8 [b, h, w, 3] → float [b, 3, h, w] in [-1, 1]."""
    return pictures.permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def psnr(encode: nn.Module, decode: nn.Module, pictures: torch.Tensor) -> float:
    """Mean over pictures [b, 3, h, w], of 8-bit output, in dB."""
    found = []
    for x in pictures.split(8):
        y = decode(encode(x)).clamp(-1, 1).mul(127.5).round() / 127.5
        found.append(10 * torch.log10(4 / (y - x).square().mean((1, 2, 3)).clamp(min=1e-9)))
    return torch.cat(found).mean().item()


def decoder_loss(encode: nn.Module, decode: nn.Module, x: torch.Tensor) -> torch.Tensor:
    z = encode(x).contiguous(memory_format=torch.channels_last)
    with run.mixed_precision(x.device.type):
        y = decode(z + NOISE * torch.randn_like(z)).float()
    difference = y - x
    edges = (difference[..., 1:] - difference[..., :-1]).abs().mean() + (
        difference[..., 1:, :] - difference[..., :-1, :]
    ).abs().mean()
    return difference.abs().mean() + 2 * difference.square().mean() + edges


def enlarged(x: torch.Tensor) -> torch.Tensor:
    """The pictures reduced to half size and enlarged again, as what is resized as pixels is."""
    small = F.interpolate(x, scale_factor=0.5, mode="bicubic", antialias=True)
    return F.interpolate(small, scale_factor=2, mode="bicubic").clamp(-1, 1)


def train_decoder(
    decode: Decoder, encode: Encoder, crops: Callable[[], torch.Tensor], phase: time_plan.Phase
) -> dict[str, torch.Tensor]:
    """Trains until the phase is over, at least one step; the moving average of the weights. `crops` gives a batch [b,
    3, h, w] on the decoder's device; one in eight of its pictures is enlarged from half size.
    """
    decode = decode.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(decode.parameters(), RATE, betas=(0.9, 0.98), weight_decay=1e-3)
    average, step, longest = run.EMA(decode, 0.998), 0, 0.0
    while step == 0 or phase.left > longest:
        begin = time.monotonic()
        for group in optimizer.param_groups:
            group["lr"] = RATE * run.warm_then_fall(phase.progress, step, 100, 0.4)
        x = crops()
        some = -(-len(x) // 8)
        loss = decoder_loss(encode, decode, torch.cat([enlarged(x[:some]), x[some:]]))
        loss.backward()
        run.clip_gradients(decode.parameters())
        optimizer.step()
        optimizer.zero_grad()
        average.update(decode)
        if step % 50 == 0:
            print(f"decoder: step {step}, loss {loss.item():.4f}, {phase.left:.0f} s left", flush=True)
        step += 1
        longest = max(longest, time.monotonic() - begin) if step > 1 else 0.0
    return average.values
