"""The autoencoder: 3 channels to 16 at an eighth of each side and back. Train its decoder:

    python lab/train/autoencoder.py --minutes 16

The encoder is linear: the 16 principal components of 8 x 8 patches. So latents are as smooth as pictures, which a small
denoiser learns far sooner than what a trained encoder hides in them. The decoder adds to the components' own pictures
what their neighbours tell about the rest; it has no normalisation layer, so a crop trains it as well as a picture.
Loss: L1 + squared error + L1 of the gradients, with a little noise on the latents so that the decoder forgives a
denoiser's errors.
"""

import argparse
import os
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from PIL import Image

import run
import scenes

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


def fit_components() -> dict[str, torch.Tensor]:
    """Mean [192] and components [16, 192] of 8 x 8 patches (values in the order (c, y, x)) of training scenes at three
    sizes, and each one's scale [16]: patch = mean + Σ latent · scale · component.
    """
    rng, total, count, products = (
        random.Random(7),
        torch.zeros(192, dtype=torch.float64),
        0,
        torch.zeros(192, 192, dtype=torch.float64),
    )
    for size, pictures in ((128, 400), (256, 200), (512, 50)):
        for _ in range(pictures):
            patches = (
                F.pixel_unshuffle(to_float(scenes.draw(scenes.training_scene(rng), size, size)[None].copy()), 8)[0]
                .flatten(1)
                .double()
            )
            total += patches.sum(1)
            products += patches @ patches.T
            count += patches.shape[1]
    mean = total / count
    variance, components = torch.linalg.eigh(products / count - mean[:, None] * mean)  # ascending
    components, deviation = components.T.flip(0)[:16], variance.flip(0)[:16].sqrt()
    components = components * components.sum(1, keepdim=True).sign()
    return {
        name: value.float()
        for name, value in {
            "mean": mean,
            "components": components,
            "scale": deviation ** (1 - SPREAD) * deviation[0] ** SPREAD,
        }.items()
    }


def components(folder: str) -> dict[str, torch.Tensor]:
    """Fitted once a folder, in under a minute."""
    path = os.path.join(folder, "components.pt")
    if not os.path.exists(path):
        run.save(path, fit_components())
    return torch.load(path, weights_only=True)


def encoder(folder: str) -> Encoder:
    found, result = components(folder), Encoder().requires_grad_(False)
    weight = found["components"] / found["scale"][:, None]
    result.net[1].weight.copy_(weight[:, :, None, None])
    result.net[1].bias.copy_(-weight @ found["mean"])
    return result.eval()


def untrained_decoder(folder: str) -> Decoder:
    """The components' own pictures."""
    found, result = components(folder), Decoder()
    with torch.no_grad():
        result.linear[0].weight.copy_((found["components"] * found["scale"][:, None]).T[:, :, None, None])
        result.linear[0].bias.copy_(found["mean"])
    return result


def decoder(folder: str) -> Decoder:
    """As trained; untrained where it has not been yet."""
    path, result = os.path.join(folder, "autoencoder.pt"), untrained_decoder(folder)
    if os.path.exists(path):
        result.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["average"])
    return result.eval()


def to_float(pictures: np.ndarray) -> torch.Tensor:
    """uint8 [b, h, w, 3] → float [b, 3, h, w] in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def held_out_pictures(count: int, size: int) -> torch.Tensor:
    """Scenes that mix a held-out combination."""
    rng, found = random.Random(1), []
    while len(found) < count:
        scene = scenes.sample(rng)
        if scenes.held_out(scene):
            found.append(scenes.draw(scene, size, size))
    return to_float(np.stack(found))


@torch.no_grad()
def psnr(encoder, decoder, pictures: torch.Tensor) -> float:
    """Mean over pictures, of 8-bit output, in dB."""
    device = next(decoder.parameters()).device
    result = []
    for x in pictures.split(8):
        y = decoder(encoder(x.to(device))).cpu()
        result.append(10 * torch.log10(4 / ((y.clamp(-1, 1).mul(127.5).round() / 127.5 - x) ** 2).mean((1, 2, 3))))
    return torch.cat(result).mean().item()


class Crops:
    """Random crops of scenes drawn at several sizes, all in memory."""

    def __init__(self, scale: float, rng: random.Random):
        counts = {128: int(3000 * scale), 256: int(5000 * scale), 512: int(800 * scale)}
        self.pools = [
            np.stack([scenes.draw(scenes.training_scene(rng), size, size) for _ in range(max(8, count))])
            for size, count in counts.items()
        ]

    def batch(self, b: int, crop: int, rng: np.random.Generator) -> torch.Tensor:
        result = np.empty((b, crop, crop, 3), np.uint8)
        for i in range(b):
            pool = self.pools[rng.choice(3, p=(0.25, 0.5, 0.25))]
            y, x = rng.integers(0, pool.shape[1] - crop + 1, 2)
            result[i] = pool[rng.integers(len(pool)), y : y + crop, x : x + crop]
        return to_float(result)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--out", default=".ralu/train")
    args.add_argument("--minutes", type=float, default=20)
    args.add_argument("--batch", type=int, default=16)
    args.add_argument("--crop", type=int, default=96)
    args.add_argument("--scale", type=float, default=1)
    a = args.parse_args()
    os.makedirs(a.out, exist_ok=True)
    device, path = run.device(), os.path.join(a.out, "autoencoder.pt")
    torch.manual_seed(0)
    encode, decode = encoder(a.out).to(device), untrained_decoder(a.out).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(decode.parameters(), RATE, betas=(0.9, 0.98), weight_decay=1e-3)
    ema, step, spent = run.EMA(decode, 0.998), 0, 0.0
    if os.path.exists(path):
        old = torch.load(path, map_location=device, weights_only=True)
        if "optimizer" not in old:
            return print(f"{path}: finished")
        decode.load_state_dict(old["raw"])
        optimizer.load_state_dict(old["optimizer"])
        ema.values, ema.updates, step, spent = old["average"], old["step"], old["step"], old["spent"]
    crops, test, pick = (
        Crops(a.scale, random.Random(100 + step)),
        {size: held_out_pictures(max(8, int(48 * a.scale)), size) for size in (256, 512)},
        np.random.default_rng(step),
    )

    def loss_of(x):
        z = encode(x).contiguous(memory_format=torch.channels_last)
        with run.mixed_precision(device):
            y = decode(z + NOISE * torch.randn_like(z)).float()
        difference = y - x
        edges = (difference[..., 1:] - difference[..., :-1]).abs().mean() + (
            difference[..., 1:, :] - difference[..., :-1, :]
        ).abs().mean()
        return difference.abs().mean() + 2 * difference.square().mean() + edges

    clock, saved = run.Clock(a.minutes, spent), 0.0
    is_done = clock.progress == 1
    while not is_done:
        for group in optimizer.param_groups:
            group["lr"] = RATE * run.warm_then_fall(clock.progress, step, 100, 0.4)
        loss = loss_of(crops.batch(a.batch, a.crop, pick).to(device))
        loss.backward()
        nn.utils.clip_grad_norm_(decode.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        ema.update(decode)
        step += 1
        if step % 50 == 0:
            print(f"{clock.spent:.0f} s, step {step}, loss {loss.item():.4f}", flush=True)
        is_done = clock.progress == 1
        if clock.spent - saved > 150 or is_done:
            saved = clock.spent
            content = {"average": ema.values, "step": step, "spent": clock.spent}
            if not is_done:
                content |= {"raw": decode.state_dict(), "optimizer": optimizer.state_dict()}
            run.save(path, content)
            show(path.replace(".pt", ".png"), encode, decoder(a.out).to(device), test)


def show(path: str, encode: Encoder, decode: Decoder, test: dict[int, torch.Tensor]) -> None:
    """Tells how well held-out scenes are restored, and draws some of them beside what became of them."""
    print(
        f"held-out: {', '.join(f'{psnr(encode, decode, x):.2f} dB at {size}²' for size, x in test.items())}", flush=True
    )
    x = test[256][:8]
    with torch.no_grad():
        pairs = torch.cat([x, decode(encode(x.to(next(decode.parameters()).device))).cpu()], 2).clamp(-1, 1)
    Image.fromarray(torch.cat(list(pairs), 2).permute(1, 2, 0).add(1).mul(127.5).round().byte().numpy()).save(path)


if __name__ == "__main__":
    main()
