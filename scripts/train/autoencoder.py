"""The autoencoder: 3 channels to 16 at an eighth of each side and back. Train it: python scripts/train/autoencoder.py --minutes 20

The encoder works on 8 x 8 patches only, the decoder grows in three pixel shuffles; neither has a normalisation layer, so a crop trains them as well as a picture.
Loss: L1 + squared error + L1 of the gradients, with a little noise on the latents so that the decoder forgives a denoiser's errors.
"""
import argparse, math, os, random
import numpy as np, torch, torch.nn as nn, torch.nn.functional as F
from PIL import Image
import run, scenes

NOISE = .05


class ResBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(c, c, 3, padding=1), nn.Conv2d(c, c, 3, padding=1)
        nn.init.zeros_(self.conv2.weight); nn.init.zeros_(self.conv2.bias)
    def forward(self, x): return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Encoder(nn.Module):
    """rgb [b, 3, 8h, 8w] in [-1, 1] → raw latents [b, 16, h, w]."""
    def __init__(self, width=128):
        super().__init__()
        self.net = nn.Sequential(nn.PixelUnshuffle(8), nn.Conv2d(192, width, 3, padding=1), ResBlock(width), ResBlock(width), nn.ReLU(), nn.Conv2d(width, 16, 1))
    def forward(self, x): return self.net(x)


class Decoder(nn.Module):
    """raw latents [b, 16, h, w] → rgb [b, 3, 8h, 8w], about [-1, 1]."""
    def __init__(self, a=192, b=96, c=32):
        super().__init__()
        grow = nn.PixelShuffle(2)
        self.net = nn.Sequential(nn.Conv2d(16, a, 3, padding=1), ResBlock(a), nn.Conv2d(a, 4 * b, 3, padding=1), grow, ResBlock(b),
                                 nn.Conv2d(b, 4 * c, 3, padding=1), grow, ResBlock(c), nn.ReLU(), nn.Conv2d(c, 12, 3, padding=1), grow)
    def forward(self, z): return self.net(z)


def to_float(pictures: np.ndarray) -> torch.Tensor:
    """uint8 [b, h, w, 3] → float [b, 3, h, w] in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


def held_out_pictures(count: int, size: int) -> torch.Tensor:
    """Scenes that mix a held-out combination."""
    rng, found = random.Random(1), []
    while len(found) < count:
        scene = scenes.sample(rng)
        if scenes.held_out(scene): found.append(scenes.draw(scene, size, size))
    return to_float(np.stack(found))


@torch.no_grad()
def psnr(encoder, decoder, pictures: torch.Tensor) -> float:
    """Mean over pictures, of 8-bit output, in dB."""
    device = next(encoder.parameters()).device
    result = []
    for x in pictures.split(8):
        y = decoder(encoder(x.to(device))).cpu()
        result.append(10 * torch.log10(4 / ((y.clamp(-1, 1).mul(127.5).round() / 127.5 - x) ** 2).mean((1, 2, 3))))
    return torch.cat(result).mean().item()


def load(folder: str, device: str) -> tuple[Encoder, Decoder, torch.Tensor, torch.Tensor]:
    """(encoder, decoder, mean [16, 1, 1], deviation [16, 1, 1]): the transformer works on (latent - mean) / deviation."""
    content = torch.load(os.path.join(folder, "autoencoder.pt"), map_location=device, weights_only=True)
    encoder, decoder = Encoder().to(device), Decoder().to(device)
    encoder.load_state_dict(content["encoder"]); decoder.load_state_dict(content["decoder"])
    return encoder.eval(), decoder.eval(), content["mean"][:, None, None], content["std"][:, None, None]


class Crops:
    """Random crops of scenes drawn at several sizes, all in memory."""
    def __init__(self, scale: float, rng: random.Random):
        counts = {128: int(3000 * scale), 256: int(5000 * scale), 512: int(800 * scale)}
        self.pools = [np.stack([scenes.draw(scenes.training_scene(rng), size, size) for _ in range(max(8, count))]) for size, count in counts.items()]
    def batch(self, b: int, crop: int, rng: np.random.Generator) -> torch.Tensor:
        result = np.empty((b, crop, crop, 3), np.uint8)
        for i in range(b):
            pool = self.pools[rng.choice(3, p=(.25, .5, .25))]
            y, x = rng.integers(0, pool.shape[1] - crop + 1, 2)
            result[i] = pool[rng.integers(len(pool)), y:y + crop, x:x + crop]
        return to_float(result)


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--out", default=".ralu/train"); args.add_argument("--minutes", type=float, default=20); args.add_argument("--batch", type=int, default=16)
    args.add_argument("--crop", type=int, default=96); args.add_argument("--rate", type=float, default=2e-3); args.add_argument("--scale", type=float, default=1)
    a = args.parse_args()
    os.makedirs(a.out, exist_ok=True)
    device, path = run.device(), os.path.join(a.out, "autoencoder.pt")
    torch.manual_seed(0)
    encoder, decoder = Encoder().to(device, memory_format=torch.channels_last), Decoder().to(device, memory_format=torch.channels_last)
    both = nn.ModuleList([encoder, decoder])
    optimizer = torch.optim.AdamW(both.parameters(), a.rate, betas=(.9, .98), weight_decay=1e-3)
    average, step, spent = run.Average(both, .998), 0, 0.
    if os.path.exists(path):
        old = torch.load(path, map_location=device, weights_only=True)
        if "optimizer" not in old: return print(f"{path}: finished")
        both.load_state_dict(old["raw"]); optimizer.load_state_dict(old["optimizer"]); average.values, average.updates, step, spent = old["average"], old["step"], old["step"], old["spent"]
    crops, test, pick = Crops(a.scale, random.Random(100 + step)), {size: held_out_pictures(max(8, int(48 * a.scale)), size) for size in (256, 512)}, np.random.default_rng(step)

    def loss_of(x):
        with torch.autocast(device, torch.bfloat16):
            z = encoder(x)
            y = decoder(z + NOISE * torch.randn_like(z)).float()
        z = z.float()
        difference = y - x
        edges = (difference[..., 1:] - difference[..., :-1]).abs().mean() + (difference[..., 1:, :] - difference[..., :-1, :]).abs().mean()
        return difference.abs().mean() + 2 * difference.square().mean() + edges + 1e-3 * z.square().mean()

    clock, saved = run.Clock(a.minutes, spent), 0.
    is_done = clock.progress == 1
    while not is_done:
        for group in optimizer.param_groups: group["lr"] = a.rate * run.warm_then_fall(clock.progress, step, 100, .4)
        x = crops.batch(a.batch, a.crop, pick).to(device).contiguous(memory_format=torch.channels_last)
        loss = loss_of(x)
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), 1.)
        optimizer.step(); optimizer.zero_grad(); average.update(both); step += 1
        if step % 50 == 0: print(f"{clock.spent:.0f} s, step {step}, loss {loss.item():.4f}", flush=True)
        is_done = clock.progress == 1
        if clock.spent - saved > 150 or is_done:
            saved = clock.spent
            finish(path, encoder, decoder, both, average, optimizer, step, clock, crops, test, is_done)


def finish(path, encoder, decoder, both, average, optimizer, step, clock, crops, test, is_final):
    """Saves the averaged weights with the latents' statistics, and a picture of held-out scenes beside their reconstructions."""
    raw = {k: v.clone() for k, v in both.state_dict().items()}
    both.load_state_dict(average.values)
    device = next(both.parameters()).device
    with torch.no_grad():
        z = torch.cat([encoder(to_float(pool[:16 * 512 // pool.shape[1]]).to(device)).permute(1, 0, 2, 3).flatten(1) for pool in crops.pools], 1).float()
        mean, std = z.mean(1).cpu(), z.std(1).cpu()
        print(f"held-out: {', '.join(f'{psnr(encoder, decoder, x):.2f} dB at {size}²' for size, x in test.items())}; latents' deviation {std.min():.2f} to {std.max():.2f}", flush=True)
        x = test[256][:8]
        pairs = torch.cat([x, decoder(encoder(x.to(device))).cpu()], 2).clamp(-1, 1)
    Image.fromarray(torch.cat(list(pairs), 2).permute(1, 2, 0).add(1).mul(127.5).round().byte().numpy()).save(path.replace(".pt", ".png"))
    content = {"encoder": encoder.state_dict(), "decoder": decoder.state_dict(), "mean": mean, "std": std, "step": step, "spent": clock.spent}
    if not is_final: content |= {"raw": raw, "optimizer": optimizer.state_dict(), "average": average.values}
    run.save(path, content)
    both.load_state_dict(raw)


if __name__ == "__main__": main()
