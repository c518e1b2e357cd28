"""The seed model as it was trained, and its text encoder and decoder arranged for ONNX.

A text-conditioned flow transformer over a 16-channel, factor-8 autoencoder. From outside it is shaped like FLUX: packed 2x2 latent tokens in
(c, i, j) order, float position ids for RoPE, sigma from 1 (noise) to 0 (data), velocity = noise - data.
"""
import json
import math
import os
import re

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

HIDDEN, LAYERS, HEADS, TOKEN, TEXT, CHANNELS = 256, 8, 4, 64, 12, 16
HEAD = HIDDEN // HEADS


class ResBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(F.relu(self.conv1(F.relu(x))))


class Upsample(nn.Module):
    def __init__(self, inner, outer):
        super().__init__()
        self.conv = nn.Conv2d(inner, outer * 4, 3, padding=1)

    def forward(self, x):
        return F.pixel_shuffle(self.conv(x), 2)


class Decoder(nn.Module):
    """Raw latents [b 16 h w] -> rgb [b 3 8h 8w], about [-1, 1]."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(CHANNELS, 128, 3, padding=1), ResBlock(128), ResBlock(128), ResBlock(128),
            Upsample(128, 96), ResBlock(96), ResBlock(96),
            Upsample(96, 64), ResBlock(64),
            Upsample(64, 32), ResBlock(32), nn.ReLU(), nn.Conv2d(32, 3, 3, padding=1),
        )  # fmt: skip

    def forward(self, z):
        return self.net(torch.tanh(z / 3) * 3)


class TextEncoder(nn.Module):
    """input_ids [b t], t known words and no padding -> encoder_hidden_states [b t 256], pooled_projections [b 256]."""

    def __init__(self, vocabulary):
        super().__init__()
        self.embed = nn.Embedding(vocabulary, HIDDEN, padding_idx=0)
        self.proj = nn.Linear(HIDDEN, HIDDEN)
        self.position = nn.Parameter(torch.zeros(TEXT, HIDDEN))

    def forward(self, input_ids):
        rows = self.embed(input_ids)
        count = input_ids.shape[1]
        return self.proj(rows) + self.position[:count], self.proj(rows.sum(1) / math.sqrt(max(count, 1e-6))) * 0.5


class Block(nn.Module):
    """Attention and MLP side by side, as FLUX's single-stream block, with QK RMSNorm and shared adaLN plus an own offset."""

    def __init__(self):
        super().__init__()
        self.inp = nn.Linear(HIDDEN, 7 * HIDDEN)
        self.out = nn.Linear(5 * HIDDEN, HIDDEN)
        self.mod = nn.Parameter(torch.zeros(3 * HIDDEN))
        self.q_norm = nn.Parameter(torch.ones(HEAD))
        self.k_norm = nn.Parameter(torch.ones(HEAD))

    def forward(self, x, mod, cos, sin):
        b, n, d = x.shape
        shift, scale, gate = (mod + self.mod).unsqueeze(1).chunk(3, -1)
        attention, mlp = self.inp(F.layer_norm(x, (d,), eps=1e-6) * (1 + scale) + shift).split([3 * d, 4 * d], -1)
        q, k, v = attention.reshape(b, n, 3, HEADS, HEAD).permute(2, 0, 3, 1, 4).unbind(0)

        def rms(t, weight):
            return t * torch.rsqrt(t.pow(2).mean(-1, keepdim=True) + 1e-6) * weight

        def rotate(t):
            p, r = t.chunk(2, -1)
            return torch.cat([p * cos - r * sin, p * sin + r * cos], -1)

        o = F.scaled_dot_product_attention(rotate(rms(q, self.q_norm)), rotate(rms(k, self.k_norm)), v)
        o = o.transpose(1, 2).reshape(b, n, d)
        return x + gate * self.out(torch.cat([o, F.gelu(mlp, approximate="tanh")], -1))


class Transformer(nn.Module):
    """hidden_states [b n 64], encoder_hidden_states [b t 256], pooled_projections [b 256], timestep [b] = sigma, img_ids [n 3] -> velocity [b n 64]."""

    def __init__(self):
        super().__init__()
        quarter = HEAD // 4
        self.x_in = nn.Linear(TOKEN, HIDDEN)
        self.t_in = nn.Linear(256, HIDDEN)
        self.t_out = nn.Linear(HIDDEN, HIDDEN)
        self.mod = nn.Linear(HIDDEN, 3 * HIDDEN)
        self.blocks = nn.ModuleList([Block() for _ in range(LAYERS)])
        self.final_mod = nn.Linear(HIDDEN, 2 * HIDDEN)
        self.out = nn.Linear(HIDDEN, TOKEN)
        self.register_buffer("freq", torch.exp(-math.log(100.0) * torch.arange(quarter) / quarter), persistent=False)
        self.register_buffer("t_freq", torch.exp(-math.log(1e4) * torch.arange(128) / 128), persistent=False)

    def conditioning(self, pooled_projections, timestep):
        a = timestep[:, None] * 1000 * self.t_freq
        return F.silu(self.t_out(F.silu(self.t_in(torch.cat([a.cos(), a.sin()], -1))) + pooled_projections))

    def angles(self, img_ids, num_text):
        angle = torch.cat([img_ids[:, 1:2] * self.freq, img_ids[:, 2:3] * self.freq], -1)
        return torch.cat([angle.new_zeros(num_text, angle.shape[1]), angle], 0)  # text sits at the origin

    def forward(self, hidden_states, encoder_hidden_states, pooled_projections, timestep, img_ids):
        t = encoder_hidden_states.shape[1]
        c = self.conditioning(pooled_projections, timestep)
        angle = self.angles(img_ids, t)
        h = torch.cat([encoder_hidden_states, self.x_in(hidden_states)], 1)
        mod = self.mod(c)
        for block in self.blocks:
            h = block(h, mod, angle.cos(), angle.sin())
        shift, scale = self.final_mod(c).unsqueeze(1).chunk(2, -1)
        return self.out(F.layer_norm(h[:, t:], (HIDDEN,), eps=1e-5) * (1 + scale) + shift)


class CountingTextEncoder(nn.Module):
    """The text encoder with the number of words as a tensor: the exporter turns Python's square root of a size into a constant."""

    def __init__(self, source):
        super().__init__()
        self.source = source

    def forward(self, input_ids):
        source, rows = self.source, self.source.embed(input_ids)
        count = torch.ones_like(input_ids).sum(1, keepdim=True).float().clamp(min=1e-6)
        return source.proj(rows) + source.position[: input_ids.shape[1]], source.proj(rows.sum(1) / count.sqrt()) * 0.5


class NormalisedDecoder(nn.Module):
    """Latents as the transformer knows them, (raw - mean) / std -> rgb: the runtime need not know mean and std."""

    def __init__(self, decoder, mean, std):
        super().__init__()
        self.net = decoder.net
        self.register_buffer("mean", mean / 3)
        self.register_buffer("std", std / 3)

    def forward(self, latent_sample):
        return self.net(torch.tanh(latent_sample * self.std + self.mean) * 3)


def words(text):
    return re.findall(r"[a-z0-9]+", text.lower())


def load(folder):
    """(text encoder, transformer, decoder, vocabulary, latent mean [16 1 1], latent std [16 1 1]) in float32 and eval mode."""
    with open(os.path.join(folder, "vocab.json")) as file:
        vocabulary = json.load(file)
    with open(os.path.join(folder, "latent_stats.json")) as file:
        stats = json.load(file)
    parts = {"text_encoder": TextEncoder(len(vocabulary)), "transformer": Transformer(), "decoder": Decoder()}
    for name, part in parts.items():
        part.load_state_dict({key: value.float() for key, value in load_file(os.path.join(folder, f"{name}.safetensors")).items()})
        part.eval().requires_grad_(False)
    mean, std = (torch.tensor(stats[key])[:, None, None] for key in ("mean", "std"))
    return *parts.values(), vocabulary, mean, std


def unpack(tokens, rows, cols):
    """tokens [b (h w) (c i j)] -> latents [b c (h i) (w j)]."""
    b = tokens.shape[0]
    return tokens.reshape(b, rows, cols, CHANNELS, 2, 2).permute(0, 3, 1, 4, 2, 5).reshape(b, CHANNELS, 2 * rows, 2 * cols)


def grid(rows, cols):
    """Position ids [rows*cols 3] of a token grid."""
    r, c = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
    return torch.stack([torch.zeros_like(r), r, c], -1).reshape(-1, 3).float()
