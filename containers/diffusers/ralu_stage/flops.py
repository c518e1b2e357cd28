"""Floating-point work from configurations, 2 per multiply-add. Pure, but for the decoder, which is counted as it runs.

A step's work is a polynomial in the image tokens n; attention over n + L tokens is 4 d (n + L)² a block of width d.
Element-wise work is left out. Law: on any configuration the counts are those of torch's own FlopCounterMode.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from torch.utils.flop_counter import FlopCounterMode

Config = Mapping[str, Any]


@dataclass(frozen=True)
class StepWork:
    """One pass of a transformer with n image tokens: linear + per_token n, and attention beside it."""

    per_token: float
    fixed: float
    attention_squared: float
    attention_per_token: float
    attention_fixed: float

    def facts(self, passes: int) -> dict[str, float]:
        """The step's part of the contract's `flops`, for one pass a step or, with classifier-free guidance, two."""
        return {
            "per_token": passes * (self.per_token + self.attention_per_token),
            "per_token_squared": passes * self.attention_squared,
            "fixed": passes * (self.fixed + self.attention_fixed),
            "attention_per_token": passes * self.attention_per_token,
            "attention_fixed": passes * self.attention_fixed,
        }


def joint_attention(width: int, blocks: int, text_tokens: int) -> dict[str, float]:
    """Attention of image and text together: 4 d (n + L)² = 4 d n² + 8 d L n + 4 d L², in each block."""
    d = width * blocks
    return {
        "attention_squared": 4 * d,
        "attention_per_token": 8 * d * text_tokens,
        "attention_fixed": 4 * d * text_tokens**2,
    }


def flux_work(config: Config, text_tokens: int, embeds_guidance: bool) -> StepWork:
    """FluxTransformer2DModel. A token costs 12 d² multiply-adds in each block, be it image or text."""
    d = config["num_attention_heads"] * config["attention_head_dim"]
    double, single = config["num_layers"], config["num_single_layers"]
    blocks = 2 * 12 * d**2 * (double + single)
    modulation = 2 * d**2 * (12 * double + 3 * single + 2)
    embeddings = 2 * (256 * d + d**2) * (2 if embeds_guidance else 1) + 2 * (config["pooled_projection_dim"] * d + d**2)
    channels = config["in_channels"]
    return StepWork(
        per_token=blocks + 2 * d * (channels + (config.get("out_channels") or channels)),
        fixed=blocks * text_tokens + modulation + embeddings + 2 * config["joint_attention_dim"] * d * text_tokens,
        **joint_attention(d, double + single, text_tokens),
    )


def sd3_work(config: Config, text_tokens: int, embeds_guidance: bool = False) -> StepWork:
    """SD3Transformer2DModel. The last block only reads the text: 3 d² a text token. A dual block attends twice."""
    d = config["num_attention_heads"] * config["attention_head_dim"]
    blocks, dual = config["num_layers"], len(config.get("dual_attention_layers") or ())
    text = 2 * d**2 * (12 * (blocks - 1) + 3) + 2 * config["joint_attention_dim"] * config["caption_projection_dim"]
    modulation = 2 * d**2 * (6 * blocks + 3 * dual + 6 * (blocks - 1) + 2 + 2)
    embeddings = 2 * (256 * d + d**2) + 2 * (config["pooled_projection_dim"] * d + d**2)
    ends = config["patch_size"] ** 2 * (config["in_channels"] + config["out_channels"])
    attention = joint_attention(d, blocks, text_tokens)
    attention["attention_squared"] += 4 * d * dual
    return StepWork(
        per_token=2 * d**2 * (12 * blocks + 4 * dual) + 2 * d * ends,
        fixed=text * text_tokens + modulation + embeddings,
        **attention,
    )


def flux2_work(config: Config, text_tokens: int, embeds_guidance: bool = False) -> StepWork:
    """Flux2Transformer2DModel. A gated feed-forward network of 3 r d² makes (4 + 3 r) d² a token; all blocks of a kind
    share one modulation."""
    d = config["num_attention_heads"] * config["attention_head_dim"]
    double, single = config["num_layers"], config["num_single_layers"]
    blocks = 2 * (4 + 3 * config["mlp_ratio"]) * d**2 * (double + single)
    embedding = 2 * (config["timestep_guidance_channels"] * d + d**2) * (2 if embeds_guidance else 1)
    channels = config["in_channels"]
    return StepWork(
        per_token=blocks + 2 * d * (channels + (config.get("out_channels") or channels)),
        fixed=blocks * text_tokens
        + 2 * d**2 * (6 + 6 + 3 + 2)
        + embedding
        + 2 * config["joint_attention_dim"] * d * text_tokens,
        **joint_attention(d, double + single, text_tokens),
    )


def text_work(kind: str, config: Config, tokens: int) -> float:
    """Encoding a prompt of so many tokens, padding included, with an encoder: T5, Qwen3, or one of the CLIPs."""
    return {"T5EncoderModel": t5_work, "Qwen3ForCausalLM": qwen3_work}.get(kind, clip_work)(config, tokens)


def t5_work(config: Config, tokens: int) -> float:
    d, inner = config["d_model"], config["num_heads"] * config["d_kv"]
    networks = 3 if str(config.get("feed_forward_proj", "relu")).startswith("gated") else 2
    layer = 2 * tokens * (4 * d * inner + networks * d * config["d_ff"]) + 4 * tokens**2 * inner
    return config["num_layers"] * layer


def clip_work(config: Config, tokens: int) -> float:
    d = config["hidden_size"]
    layer = 2 * tokens * (4 * d**2 + 2 * d * config["intermediate_size"]) + 4 * tokens**2 * d
    return config["num_hidden_layers"] * layer


def qwen3_work(config: Config, tokens: int) -> float:
    """All layers and the output over the vocabulary, which runs although nobody reads it."""
    d, head = config["hidden_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    layer = 2 * tokens * (d * (2 * queries + 2 * keys) + 3 * d * config["intermediate_size"]) + 4 * tokens**2 * queries
    return config["num_hidden_layers"] * layer + 2 * tokens * d * config["vocab_size"]


def decoder_work(kind: str, config: Config, width: int, height: int) -> float:
    """Decoding one picture with a decoder of a class: counted on tensors without values."""
    with torch.device("meta"), torch.no_grad():
        vae = getattr(diffusers, kind).from_config(dict(config)).eval()
        factor = 2 ** (len(config["block_out_channels"]) - 1)
        latents = torch.empty(1, config["latent_channels"], height // factor, width // factor)
        with FlopCounterMode(display=False) as counter:
            vae.decode(latents)
    return float(counter.get_total_flops())
