"""The transformer and its text encoder, and the loss that trains them: flow matching.

velocity = noise - data at sigma from 1 (noise) to 0 (data), sigma logit-normal and shifted as the sampler shifts it. A
batch holds pictures of one shape with captions of one length, so nothing is padded. Only whole grids with integer
position ids are ever seen: mixed resolution is no part of training.

Two things make up for a short training. Inner tokens are also asked what is drawn there (`Naming`; as REPA, arXiv
2410.06940, asks them for another network's features). And the later part learns guided velocities, data's plus
`GUIDANCE` times what the caption changes, so that sampling needs no second pass (model guidance, arXiv 2502.12154).
"""

import itertools
import sys
from collections.abc import Callable

import torch
import torch.nn as nn
import torch.nn.functional as F
from tokenizers import Tokenizer

import latents
import run
import text
from muon import Muon

# diffusers imports these wherever they are installed: seconds of the GPU's time, and an ImportError where they do not
# like a package that travelled. The model needs none of them, and None keeps them from being found. Once diffusers has
# looked for them it is too late
if "diffusers" not in sys.modules:
    sys.modules |= dict.fromkeys(["transformers", "peft", "accelerate"])
from diffusers import FluxTransformer2DModel

SHIFT = 3.0  # of the noise level, in training and sampling, at every size
# FLUX.1-dev: 19, 38, 128, 24, (16, 56, 56), joint_attention_dim 4096, pooled 768, guidance
CONFIGS = {
    "full": {
        "num_layers": 2,
        "num_single_layers": 6,
        "attention_head_dim": 64,
        "num_attention_heads": 6,
        "axes_dims_rope": (8, 28, 28),
    },
    "toy": {
        "num_layers": 1,
        "num_single_layers": 3,
        "attention_head_dim": 32,
        "num_attention_heads": 2,
        "axes_dims_rope": (4, 14, 14),
    },
}
CAPTION_DROPOUT = 0.08  # share of the batches without a caption
# the fixed point is a guidance of 1 / (1 - .35) = 1.54; no sigma above
GUIDANCE, GUIDED_BELOW = 0.35, 0.95


def shifted(u: torch.Tensor) -> torch.Tensor:
    """sigma = SHIFT u / (1 + (SHIFT - 1) u), for u from 1 (noise) to 0 (data)."""
    return SHIFT * u / (1 + (SHIFT - 1) * u)


def build(config: dict) -> FluxTransformer2DModel:
    model = FluxTransformer2DModel(
        patch_size=1,
        in_channels=64,
        joint_attention_dim=text.WIDTH,
        pooled_projection_dim=text.WIDTH,
        guidance_embeds=False,
        **config,
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

    def __init__(self, vocabulary: int, config: dict):
        super().__init__()
        self.text, self.transformer = text.TextEncoder(vocabulary), build(config)

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
    """For training only: what the middle of the transformer makes of each image token, as a name and a colour. Make it
    before torch.compile, which traces the hook with the rest.
    """

    WEIGHT = 0.1

    def __init__(self, velocity: Velocity, names: int, colours: int):
        super().__init__()
        blocks, width = velocity.transformer.single_transformer_blocks, velocity.transformer.inner_dim
        self.name, self.colour, self.inside = (
            nn.Linear(width, 1 + names),
            nn.Linear(width, 1 + colours),
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


def flow_loss(
    forward: Callable,
    naming: Naming,
    x: torch.Tensor,
    things: torch.Tensor,
    ids: torch.Tensor,
    img_ids: torch.Tensor,
    is_captioned: bool,
    is_guided: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """(what is minimised, its share of velocities) of clean tokens x [b, n, 64] with captions ids [b, t]. `forward` is
    the model, compiled or not; guided velocities are learned only of batches with captions.
    """
    sigma = shifted(torch.sigmoid(torch.randn(len(x), device=x.device)))
    noise, s = torch.randn_like(x), sigma[:, None, None]
    mixed, target = (1 - s) * x + s * noise, noise - x
    no_caption = ids[:, :1]  # [START], which every text begins with
    with run.mixed_precision(x.device.type):
        if is_guided and is_captioned:
            with torch.no_grad():
                unconditional = forward(mixed, sigma, no_caption, img_ids).float()
        v = forward(mixed, sigma, ids if is_captioned else no_caption, img_ids).float()
    if is_guided and is_captioned:
        target = target + GUIDANCE * (s < GUIDED_BELOW) * (v.detach() - unconditional)
    loss = (v - target).square().mean()
    return loss + Naming.WEIGHT * naming(things), loss.detach()


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
