"""Tiny random models in diffusers' own format, with text encoders and tokenizers made from configuration.

python tests/tiny.py FOLDER writes FOLDER/flux-dev, FOLDER/flux-schnell, FOLDER/sd3, FOLDER/sd3.5 and FOLDER/klein.
Their weights are random at a scale where differences show; their pictures mean nothing.
"""

from __future__ import annotations

import json
import string
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLFlux2,
    FlowMatchEulerDiscreteScheduler,
    Flux2KleinPipeline,
    Flux2Transformer2DModel,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from torch import nn
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2TokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

SIZES = [
    {"width": 128, "height": 128},
    {"width": 64, "height": 64},
    {"width": 128, "height": 64},
    {"width": 80, "height": 64},
]
SIZE_RULE = {"multiple": 32, "min_pixels": 64 * 64, "max_pixels": 192 * 128, "max_aspect": 3}
TEXT_TOKENS = 24
WORDS = ["a", "an", "the", "of", "red", "green", "blue", "cat", "dog", "fish", "in", "on", "under", "two", "three"]


def shake(module: nn.Module, spread: float) -> nn.Module:
    """Random values in every parameter, norms and biases too."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0, spread)
    return module.eval()


def byte_letters() -> list[str]:
    """The letters by which byte-level tokenizers write the 256 bytes."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letter = {byte: chr(byte) for byte in printable} | {byte: chr(256 + i) for i, byte in enumerate(others)}
    return [letter[byte] for byte in range(256)]


def clip_tokenizer() -> CLIPTokenizer:
    letters = byte_letters()
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer({word: i for i, word in enumerate(words)}, [], model_max_length=16)


def t5_tokenizer() -> T5TokenizerFast:
    words = [f"▁{word}" for word in WORDS] + ["▁", *string.ascii_letters, *string.digits, *".,:;!?'-"]
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)] + [(word, -float(len(word) < 2) - 1) for word in words]
    return T5TokenizerFast(vocabulary, extra_ids=0, model_max_length=TEXT_TOKENS)


def qwen_tokenizer() -> Qwen2TokenizerFast:
    words = [*byte_letters(), "<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    tokenizer = Qwen2TokenizerFast({word: i for i, word in enumerate(words)}, [], model_max_length=2 * TEXT_TOKENS)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = (
        "{% for message in messages %}<|im_start|>{{ message.content }}<|im_end|>{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>{% endif %}"
    )
    return tokenizer


def clip_config(tokenizer: CLIPTokenizer, width: int) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        projection_dim=width,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=tokenizer.model_max_length,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def t5_encoder(tokenizer: T5TokenizerFast, width: int) -> T5EncoderModel:
    config = T5Config(
        vocab_size=len(tokenizer), d_model=width, d_kv=8, d_ff=2 * width, num_layers=2, num_heads=2,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    return shake(T5EncoderModel(config), 0.3)


def vae(kind: type = AutoencoderKL, channels: int = 16, **options: Any) -> nn.Module:
    model = kind(
        block_out_channels=(4, 4, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=channels,
        layers_per_block=1,
        norm_num_groups=2,
        use_quant_conv=False,
        use_post_quant_conv=False,
        **options,
    )
    return shake(model, 0.3)


def flux(guidance: bool = True, blocks: int = 2, seed: int = 0) -> FluxPipeline:
    """FLUX.1: dev where guidance is embedded, schnell otherwise; so many blocks of each kind."""
    torch.manual_seed(seed)
    clip, t5 = clip_tokenizer(), t5_tokenizer()
    transformer = FluxTransformer2DModel(
        in_channels=64,
        num_layers=blocks,
        num_single_layers=blocks,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        guidance_embeds=guidance,
        axes_dims_rope=(4, 6, 6),
    )
    dynamic = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15} if guidance else {}
    return FluxPipeline(
        transformer=shake(transformer, 0.25),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0 if guidance else 1.0, **dynamic),
        vae=vae(scaling_factor=0.3611, shift_factor=0.1159),
        text_encoder=shake(CLIPTextModel(clip_config(clip, 16)), 0.3),
        tokenizer=clip,
        text_encoder_2=t5_encoder(t5, 32),
        tokenizer_2=t5,
    )


def sd3(qk_norm: str | None = None, dual: tuple[int, ...] = (), seed: int = 0) -> StableDiffusion3Pipeline:
    """Stable Diffusion 3; with norms of queries and keys and dual blocks it is 3.5."""
    torch.manual_seed(seed)
    clip, t5 = clip_tokenizer(), t5_tokenizer()
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=16,
        out_channels=16,
        num_layers=3,
        attention_head_dim=8,
        num_attention_heads=4,
        joint_attention_dim=32,
        caption_projection_dim=32,
        pooled_projection_dim=32,
        pos_embed_max_size=24,
        qk_norm=qk_norm,
        dual_attention_layers=dual,
    )
    return StableDiffusion3Pipeline(
        # without norms larger weights make attention a switch
        transformer=shake(transformer, 0.25 if qk_norm else 0.12),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae(scaling_factor=1.5305, shift_factor=0.0609),
        text_encoder=shake(CLIPTextModelWithProjection(clip_config(clip, 16)), 0.3),
        tokenizer=clip,
        text_encoder_2=shake(CLIPTextModelWithProjection(clip_config(clip, 16)), 0.3),
        tokenizer_2=clip_tokenizer(),
        text_encoder_3=t5_encoder(t5, 32),
        tokenizer_3=t5,
    )


def klein(is_distilled: bool = True, seed: int = 0) -> Flux2KleinPipeline:
    """FLUX.2 klein: distilled to four steps, or its base, which takes classifier-free guidance."""
    torch.manual_seed(seed)
    qwen = qwen_tokenizer()
    transformer = Flux2Transformer2DModel(
        in_channels=128,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=48,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    text = Qwen3Config(
        vocab_size=len(qwen),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=28,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=8,
    )
    decoder = vae(AutoencoderKLFlux2, channels=32)
    decoder.bn.running_mean.copy_(torch.randn(128))
    decoder.bn.running_var.copy_(torch.rand(128) * 3 + 0.2)
    return Flux2KleinPipeline(
        transformer=shake(transformer, 0.2),
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=decoder,
        text_encoder=shake(Qwen3ForCausalLM(text), 0.3),
        tokenizer=qwen,
        is_distilled=is_distilled,
    )


MAKERS: dict[str, Callable[[], Any]] = {
    "flux-dev": flux,
    "flux-schnell": lambda: flux(guidance=False),
    "sd3": sd3,
    "sd3.5": lambda: sd3(qk_norm="rms_norm", dual=(0,)),
    "klein": klein,
    "klein-base": lambda: klein(is_distilled=False),
}


def write(name: str, folder: Path) -> Path:
    """A tiny model by its name, in a folder of that name, with small pictures as the operator's sizes."""
    path = folder / name
    MAKERS[name]().save_pretrained(path)
    operator = {"id": f"tiny-{name}", "sizes": SIZES, "size_rule": SIZE_RULE, "licence": "MIT", "sale": "sell them"}
    (path / "ralu.json").write_text(json.dumps(operator))
    return path


if __name__ == "__main__":
    for maker in MAKERS:
        print(write(maker, Path(sys.argv[1])))
