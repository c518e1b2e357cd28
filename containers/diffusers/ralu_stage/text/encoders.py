"""Text encoders of the families. The pipelines of diffusers encode; here prompts are counted and warned of."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DiffusionPipeline

from ralu_stage.text.encoded import Encoded

FLUX_TOKENS = 512
SD3_T5_TOKENS = 256
QWEN_TOKENS = 512


def longest(tokenizer: Any, most: int) -> int:
    """Tokens that a prompt may have: the family's most, or the tokenizer's where that is less."""
    return min(most, tokenizer.model_max_length)


def warn_of(tokenizer: Any, text: str, most: int) -> tuple[str, ...]:
    """Sentences about a text that a tokenizer does not read whole: cut, or with letters it does not know."""
    ids = tokenizer(text).input_ids
    warnings = []
    if len(ids) > most:
        warnings.append(f"the prompt has {len(ids)} text tokens; the model reads the first {most}")
    if tokenizer.unk_token_id != tokenizer.pad_token_id and tokenizer.unk_token_id in ids[:most]:
        warnings.append("the model's text encoder does not know some characters of the prompt")
    return tuple(warnings)


class FluxText:
    """FLUX.1: T5 gives the text tokens, CLIP the pooled vector from the first 77 of its own."""

    def __init__(self, pipeline: DiffusionPipeline, device: torch.device) -> None:
        self.pipeline, self.device = pipeline, device
        self.text_tokens = longest(pipeline.tokenizer_2, FLUX_TOKENS)

    def tokens_of(self, component: str) -> int:
        return self.pipeline.tokenizer_max_length if component == "text_encoder" else self.text_tokens

    def encode(self, prompt: str) -> Encoded:
        states, pooled, _ = self.pipeline.encode_prompt(
            prompt, None, device=self.device, max_sequence_length=self.text_tokens
        )
        return Encoded(states, pooled, warn_of(self.pipeline.tokenizer_2, prompt, self.text_tokens))


class SD3Text:
    """Stable Diffusion 3: the text tokens of both CLIPs side by side, then those of T5, or zeros without it."""

    def __init__(self, pipeline: DiffusionPipeline, device: torch.device) -> None:
        self.pipeline, self.device = pipeline, device
        self.has_t5 = pipeline.text_encoder_3 is not None
        self.clip_tokens = pipeline.tokenizer_max_length
        self.t5_tokens = longest(pipeline.tokenizer_3, SD3_T5_TOKENS) if self.has_t5 else SD3_T5_TOKENS
        self.text_tokens = self.clip_tokens + self.t5_tokens

    def tokens_of(self, component: str) -> int:
        return self.t5_tokens if component == "text_encoder_3" else self.clip_tokens

    def encode(self, prompt: str) -> Encoded:
        states, _, pooled, _ = self.pipeline.encode_prompt(
            prompt,
            None,
            None,
            device=self.device,
            do_classifier_free_guidance=False,
            max_sequence_length=self.t5_tokens,
        )
        if self.has_t5:
            return Encoded(states, pooled, warn_of(self.pipeline.tokenizer_3, prompt, self.t5_tokens))
        return Encoded(states, pooled, warn_of(self.pipeline.tokenizer, prompt, self.clip_tokens))


class KleinText:
    """FLUX.2 klein: three layers of Qwen3, which reads the prompt as a chat's message."""

    def __init__(self, pipeline: DiffusionPipeline, device: torch.device) -> None:
        self.pipeline, self.device = pipeline, device
        self.text_tokens = longest(pipeline.tokenizer, QWEN_TOKENS)

    def tokens_of(self, component: str) -> int:
        return self.text_tokens

    def encode(self, prompt: str) -> Encoded:
        states, _ = self.pipeline.encode_prompt(prompt, device=self.device, max_sequence_length=self.text_tokens)
        message = self.pipeline.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
        return Encoded(states, None, warn_of(self.pipeline.tokenizer, message, self.text_tokens))
