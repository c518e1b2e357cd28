"""The transformer and its text encoder, trained by flow matching. python lab/train/transformer.py --minutes 80 (needs
latents.py's files); starts again where it stopped.

velocity = noise - data at sigma from 1 (noise) to 0 (data), sigma logit-normal and shifted as the sampler shifts it. A
batch holds pictures of one shape with captions of one length, so nothing is padded; a step adds up several batches.
Only whole grids with integer position ids are ever seen: mixed resolution is no part of training.

Two things make up for a short training. Inner tokens are also asked what is drawn there (`Naming`; as REPA, arXiv
2410.06940, asks them for another network's features). And the later part learns guided velocities, data's plus
`GUIDANCE` times what the caption changes, so that sampling needs no second pass (model guidance, arXiv 2502.12154).
"""

import argparse
import itertools
import os
import random
from collections import defaultdict

import torch
import torch.nn as nn
import torch.nn.functional as F
from diffusers import FluxTransformer2DModel
from PIL import Image
from tokenizers import Tokenizer

import autoencoder
import curricula
import latents
import run
import scenes
import text
from muon import Muon

SHIFT = 3.0  # of the noise level, in training and sampling, at every size
# FLUX.1-dev: 19, 38, 128, 24, (16, 56, 56), joint_attention_dim 4096, pooled 768, guidance
CONFIG = {
    "num_layers": 2,
    "num_single_layers": 6,
    "attention_head_dim": 64,
    "num_attention_heads": 4,
    "axes_dims_rope": (8, 28, 28),
}
CAPTION_DROPOUT = 0.08  # share of the batches without a caption
# progress; the fixed point is a guidance of 1 / (1 - .35) = 1.54; no sigma above
GUIDED_FROM, GUIDANCE, GUIDED_BELOW = (
    0.5,
    0.35,
    0.95,
)
PREVIEW = [
    "a fox",
    "a blue apple and a red heart",
    "a dog to the left of a tree on a yellow background",
    "three balloons",
    "a rocket above a house on blue",
    "a cat and a guitar",
    "four bees on pink",
    "an owl on a gray background",
    "a football",
    "a bear on an orange background",
    "a penguin on a background fading from blue to pink",
    "two lemons",
    "a green crown",
    "a robot",
    "a bicycle",
    "an apple, a car and a star",
]


def shifted(u: torch.Tensor) -> torch.Tensor:
    """sigma = SHIFT u / (1 + (SHIFT - 1) u), for u from 1 (noise) to 0 (data)."""
    return SHIFT * u / (1 + (SHIFT - 1) * u)


def build() -> FluxTransformer2DModel:
    model = FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        joint_attention_dim=text.WIDTH,
        pooled_projection_dim=text.WIDTH,
        guidance_embeds=False,
        **CONFIG,
    )
    # diffusers casts the timestep to what these give out: in bfloat16 a thousand noise levels would be about two
    # hundred
    for layer in (model.x_embedder, model.context_embedder):
        layer.register_forward_hook(lambda _, inputs, output: output.float())
    return model


class Velocity(nn.Module):
    """Text encoder and transformer as one: (x [b, n, 64], sigma [b], input_ids [b, t], img_ids [n, 3]) → velocity [b,
    n, 64].
    """

    def __init__(self, vocabulary: int):
        super().__init__()
        self.text, self.transformer = text.TextEncoder(vocabulary), build()

    def forward(self, x, sigma, input_ids, img_ids):
        hidden, pooled = self.text(input_ids)
        return self.transformer(
            hidden_states=x,
            encoder_hidden_states=hidden,
            pooled_projections=pooled,
            timestep=sigma,
            img_ids=img_ids,
            txt_ids=torch.zeros(input_ids.shape[1], 3, device=x.device),
            return_dict=False,
        )[0]


class Naming(nn.Module):
    """For training only: what the middle of the transformer makes of each image token, as a name and a colour
    (`latents.things_at`). Make it before torch.compile, which traces the hook with the rest.
    """

    WEIGHT = 0.1

    def __init__(self, velocity: Velocity):
        super().__init__()
        blocks, width = velocity.transformer.single_transformer_blocks, velocity.transformer.inner_dim
        self.name, self.colour, self.inside = (
            nn.Linear(width, 1 + len(scenes.NAMES)),
            nn.Linear(width, 1 + len(scenes.COLOURS)),
            None,
        )
        blocks[len(blocks) // 3 - 1].register_forward_hook(self.remember)

    def remember(self, block, inputs, outputs):
        self.inside = outputs[1]

    def forward(self, things):
        """Mean cross entropy over tokens of both; colours are asked only where a thing is. things [b, n, 2]."""
        inside, (names, colours) = (
            F.layer_norm(self.inside.float(), self.inside.shape[-1:]).flatten(0, 1),
            things.flatten(0, 1).long().unbind(1),
        )
        return F.cross_entropy(self.name(inside), names) + F.cross_entropy(
            self.colour(inside), torch.where(names > 0, colours, -1), ignore_index=-1, reduction="sum"
        ) / (names > 0).sum().clamp(min=1)


class Pool:
    """The scenes of one shape, by whether they hold a single object and by caption length."""

    def __init__(self, path: str, tokenizer: Tokenizer, device: str):
        content = torch.load(path, weights_only=True)
        rng = random.Random(3)
        self.rows, self.cols, self.x, self.things = (
            content["height"] // 16,
            content["width"] // 16,
            content["tokens"].to(device),
            content["things"].to(device),
        )
        self.groups = {True: defaultdict(list), False: defaultdict(list)}
        for i, (caption, task) in enumerate(zip(content["captions"], content["tasks"], strict=True)):
            ids = text.encode(caption, tokenizer, rng)[: text.MAX_TOKENS]
            self.groups[task == "single"][len(ids)].append((i, ids))
        self.img_ids = latents.grid_ids(self.rows, self.cols).to(device)

    def batch(self, b: int, singles: float, rng: random.Random) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`b` scenes whose captions have one length, of a single object with chance `singles`: (x [b, n, 64], things
        [b, n, 2], input_ids [b, t]).
        """
        by_length = self.groups[rng.random() < singles]
        length = rng.choices(list(by_length), [len(each) for each in by_length.values()])[0]
        chosen = rng.choices(by_length[length], k=b)
        index = [i for i, _ in chosen]
        return self.x[index].float(), self.things[index], torch.tensor([ids for _, ids in chosen], device=self.x.device)


def optimizers(model: Velocity, naming: Naming, muon_rate: float, adam_rate: float):
    """Muon for the matrices inside the blocks; AdamW for embeddings, modulations, projections in and out, vectors."""
    matrices, rest = [], []
    for name, parameter in model.named_parameters():
        is_block = ("transformer_blocks" in name or "text.layers" in name) and "norm" not in name
        (matrices if parameter.ndim == 2 and is_block else rest).append(parameter)
    return [
        (Muon(matrices, muon_rate), muon_rate),
        (torch.optim.AdamW([*rest, *naming.parameters()], lr=adam_rate, betas=(0.9, 0.98), weight_decay=0), adam_rate),
    ]


@torch.no_grad()
def sample(
    model: Velocity, captions: list[str], tokenizer: Tokenizer, width: int, height: int, steps: int = 20, seed: int = 0
) -> torch.Tensor:
    """Clean latents [b, 16, height / 8, width / 8], normalised. The plain sampler: Euler over the shifted schedule."""
    device, rows, cols = next(model.parameters()).device, height // 16, width // 16
    generator, sigmas = torch.Generator().manual_seed(seed), shifted(torch.linspace(1, 0, steps + 1))
    img_ids, result = latents.grid_ids(rows, cols).to(device), []
    for caption in captions:
        ids = torch.tensor([text.encode(caption, tokenizer)], device=device)
        x = torch.randn(1, rows * cols, 64, generator=generator).to(device)
        for a, b in itertools.pairwise(sigmas):
            with run.mixed_precision(device.type):
                v = model(x, a[None].to(device), ids, img_ids)
            x = x + (b - a) * v.float()
        result.append(latents.unpack(x, rows, cols))
    return torch.cat(result)


def sample_sheet(model, decoder, tokenizer, path, size):
    z = sample(model, PREVIEW, tokenizer, size, size)
    with torch.no_grad():
        pictures = torch.cat([decoder(each[None].cpu()) for each in z])
    lines = [torch.cat(list(pictures[i : i + 8]), 2) for i in range(0, 16, 8)]
    Image.fromarray(torch.cat(lines, 1).permute(1, 2, 0).clamp(-1, 1).add(1).mul(127.5).round().byte().numpy()).save(
        path
    )


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--out", default=".ralu/train")
    args.add_argument("--minutes", type=float, default=80)
    args.add_argument("--curriculum", choices=curricula.CURRICULA, default="cores")
    args.add_argument("--tokens", type=int, default=2048, help="image tokens a batch")
    args.add_argument("--batches", type=int, default=2, help="batches a step")
    args.add_argument("--muon", type=float, default=3e-3)
    args.add_argument("--adam", type=float, default=1.5e-3)
    args.add_argument("--every", type=float, default=600, help="seconds between checkpoints")
    args.add_argument(
        "--compile",
        action="store_true",
        help="pays on a GPU; without one it only traces the graphs, since building them takes minutes",
    )
    a = args.parse_args()
    device, path = run.device(), os.path.join(a.out, "transformer.pt")
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    tokenizer = text.build_tokenizer(text.caption_words())
    tokenizer.save(os.path.join(a.out, "tokenizer.json"))
    model = Velocity(tokenizer.get_vocab_size()).to(device)
    naming = Naming(model).to(device)
    pools = {
        shape: Pool(os.path.join(a.out, f"latents-{shape[0]}x{shape[1]}.pt"), tokenizer, device)
        for shape in curricula.shapes(a.curriculum)
    }
    print(
        f"{sum(p.numel() for p in model.transformer.parameters()) / 1e6:.1f} M parameters,"
        f" text encoder {sum(p.numel() for p in model.text.parameters()) / 1e6:.1f} M",
        flush=True,
    )
    optims = optimizers(model, naming, a.muon, a.adam)
    ema, step, spent = run.EMA(model, 0.998), 0, 0.0
    if os.path.exists(path):
        old = torch.load(path, map_location=device, weights_only=True)
        model.load_state_dict(old["raw"])
        naming.load_state_dict(old["naming"])
        ema.values, ema.updates, step, spent = old["average"], old["step"], old["step"], old["spent"]
        for (optimizer, _), state in zip(optims, old["optimizers"], strict=True):
            optimizer.load_state_dict(state)
    rng = random.Random(step)
    # one graph serves many shapes and lengths, but a text of one token, a single picture and no gradients each want
    # their own
    torch.compiler.config.recompile_limit = 16
    forward = (
        torch.compile(model, dynamic=True, backend="inductor" if device == "cuda" else "aot_eager")
        if a.compile
        else model
    )

    def loss_of(shape, singles: float, is_guided: bool) -> tuple[torch.Tensor, float]:
        pool, is_conditional = pools[shape], rng.random() > CAPTION_DROPOUT
        x, things, ids = pool.batch(max(1, a.tokens // (pool.rows * pool.cols)), singles, rng)
        sigma = shifted(torch.sigmoid(torch.randn(len(x), device=device)))
        noise, s = torch.randn_like(x), sigma[:, None, None]
        mixed, target = (1 - s) * x + s * noise, noise - x
        no_caption = torch.full((len(x), 1), tokenizer.token_to_id(text.START), device=device)
        with run.mixed_precision(device):
            with torch.no_grad():
                v_unconditional = (
                    forward(mixed, sigma, no_caption, pool.img_ids).float() if is_guided and is_conditional else None
                )
            v = forward(mixed, sigma, ids if is_conditional else no_caption, pool.img_ids).float()
        if v_unconditional is not None:
            target = target + GUIDANCE * (s < GUIDED_BELOW) * (v.detach() - v_unconditional)
        loss = (v - target).square().mean()
        return loss + Naming.WEIGHT * naming(things), loss.item()

    clock = run.Clock(a.minutes, spent)
    saved, told, recent = clock.spent, clock.spent, defaultdict(list)
    is_done = clock.progress == 1
    while not is_done:
        _, singles, now = [phase for phase in curricula.CURRICULA[a.curriculum] if clock.progress >= phase[0]][-1]
        rate = run.warm_then_fall(clock.progress, step, 60)
        for optimizer, peak in optims:
            for group in optimizer.param_groups:
                group["lr"] = peak * rate
        for _ in range(a.batches):
            shape = rng.choices(list(now), now.values())[0]
            loss, shown = loss_of(shape, singles, clock.progress > GUIDED_FROM)
            (loss / a.batches).backward()
            recent[shape].append(shown)
            recent["naming"].append((loss.item() - shown) / Naming.WEIGHT)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, _ in optims:
            optimizer.step()
            optimizer.zero_grad()
        ema.update(model)
        step += 1
        if clock.spent - told > 30:
            print(
                f"{clock.spent:.0f} s, step {step}, "
                + ", ".join(
                    f"{shape if isinstance(shape, str) else 'x'.join(map(str, shape))} {sum(v) / len(v):.4f}"
                    for shape, v in recent.items()
                ),
                flush=True,
            )
            told = clock.spent
            recent.clear()
        is_done = clock.progress == 1
        if clock.spent - saved > a.every or is_done:
            saved = clock.spent
            raw = {k: v.clone() for k, v in model.state_dict().items()}
            run.save(
                path,
                {
                    "raw": raw,
                    "naming": naming.state_dict(),
                    "average": ema.values,
                    "optimizers": [optimizer.state_dict() for optimizer, _ in optims],
                    "step": step,
                    "spent": clock.spent,
                },
            )
            model.load_state_dict(ema.values)
            for size in sorted({width for width, height in now if width == height}):
                sample_sheet(
                    model,
                    autoencoder.decoder(a.out),
                    tokenizer,
                    os.path.join(a.out, f"transformer-{size}-{round(clock.spent / 60):03d}.png"),
                    size,
                )
            model.load_state_dict(raw)


if __name__ == "__main__":
    main()
