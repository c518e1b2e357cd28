"""A model of diffusers behind `ralu_stage.model.Model`: text, steps and decoder of one pipeline on one device."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy
import torch
from torch import nn

from ralu_stage.adapters.adapter import Adapter, Places
from ralu_stage.engine.attention import prefer_attention
from ralu_stage.engine.blocks import BlockForecast
from ralu_stage.engine.clock import mark
from ralu_stage.engine.compile import Compiled
from ralu_stage.engine.pace import Pace
from ralu_stage.engine.steps import run_steps
from ralu_stage.model import Denoised, ModelFailed, NotFinite, OnStep, Stopped
from ralu_stage.picture.colours import Colours, fit_colours
from ralu_stage.text.cache import TextCache
from ralu_stage.text.encoded import Encoded, TextEncoder

if TYPE_CHECKING:
    from ralu_stage.contract.request import StageJob


class DiffusersModel:
    """See `Model`. Latents are float32 between the steps, whatever the transformer computes in.

    On CUDA the steps run in a stream of their own, before the decoder's where both want the device. Text is encoded by
    `text` on its own device, which may be the CPU, and remembered on the transformer's.
    """

    def __init__(
        self,
        *,
        facts: dict[str, Any],
        engine_class: str,
        deterministic: bool,
        device: torch.device,
        adapter: Adapter,
        text: TextEncoder,
        vae: nn.Module,
        compiled: Compiled | None = None,
    ) -> None:
        self.facts, self.engine_class, self.deterministic = facts, engine_class, deterministic
        self.device, self.adapter, self.text, self.vae = device, adapter, text, vae
        self.compiled = compiled
        self.blocks = BlockForecast(adapter.transformer)
        self.texts = TextCache(self.encode)
        self.colours: Colours | None = None
        is_cuda = device.type == "cuda"
        if is_cuda:
            # weights may still be on their way in the stream that made them, and the streams here do not wait for it
            torch.cuda.synchronize(device)
        self.steps_stream = torch.cuda.Stream(device, priority=-1) if is_cuda else None
        self.decode_stream = torch.cuda.Stream(device) if is_cuda else None
        self.settings = ExitStack()
        self.settings.enter_context(prefer_attention(device))

    def encode(self, prompt: str) -> Encoded:
        with torch.no_grad():
            encoded = self.text.encode(prompt)
        to = {"device": self.device, "dtype": self.adapter.transformer.dtype}
        pooled = None if encoded.pooled is None else encoded.pooled.to(**to)
        return Encoded(encoded.states.to(**to), pooled, encoded.warnings)

    def denoise(self, job: StageJob, on_step: OnStep, should_stop: Callable[[], bool]) -> Denoised:
        options = job.options
        with self.failing("text"), stream(self.steps_stream):
            encodings, before_text = self.texts.encodings, mark(self.device)
            user = (job.stage_id, should_stop)
            texts = [self.texts.get(options.account_tag, prompt, *user) for prompt in self.prompts(job)]
            after_text, is_encoded = mark(self.device), self.texts.encodings > encodings
        with self.failing("steps"), stream(self.steps_stream):
            places = self.places(job)
            velocity = self.adapter.bind(places, texts, job.guidance)
            if self.compiled is not None:
                self.compiled.choose(len(places.ids))
            latents = torch.from_numpy(job.latents).to(self.device)
            sigmas = job.sigmas.astype(numpy.float64).tolist()
            try:
                with Pace(self.device, len(sigmas) - 1, on_step, should_stop) as pace:
                    result = run_steps(
                        velocity,
                        latents,
                        sigmas,
                        pace,
                        solver=options.solver,
                        cache=options.cache,
                        blocks=self.blocks,
                    )
            finally:
                self.blocks.clear()
            needs_clean = options.decode == "clean" or options.clean_latents
            return Denoised(
                latents=result.latents.cpu(),
                clean=result.clean.cpu() if needs_clean else None,
                encode_text_ms=after_text.ms_since(before_text) if is_encoded else 0.0,
                compute_ms=pace.compute_ms,
                evaluations=result.evaluations,
                text_tokens=texts[-1].states.shape[1],
                warnings=list(dict.fromkeys(warning for text in texts for warning in text.warnings)),
            )

    def forget_texts(self, stage_id: str) -> None:
        self.texts.forget(stage_id)

    def forget_unused_texts(self, seconds: float) -> None:
        self.texts.forget_unused(seconds)

    def warm_up(self, records: bool = False) -> None:
        """Runs a step of the default size: the first stage then finds kernels chosen, graphs made and memory enough.

        Compiled blocks meet each of their static token counts, and one count for all others; with `records` also as
        they run in a stage whose features are cached. Raises ModelFailed.
        """
        guidance = self.facts["guidance"]
        is_cfg = guidance is not None and guidance["kind"] == "cfg"
        size, side = self.facts["sizes"][0], self.facts["token_pixels"]
        whole = size["height"] // side * (size["width"] // side)
        counts = [whole] if self.compiled is None else [*sorted(self.compiled.static_counts), whole - 1]
        with self.failing("warm-up"), stream(self.steps_stream), torch.no_grad():
            texts = [self.encode("")] * (2 if is_cfg else 1)
            for tokens in counts:
                if self.compiled is not None:
                    self.compiled.choose(tokens)
                places = Places(torch.zeros(tokens, 3, device=self.device), rows=1, cols=1)
                velocity = self.adapter.bind(places, texts, guidance["default"] if guidance else None)
                latents = torch.zeros(tokens, 4 * self.adapter.channels, device=self.device)
                velocity(latents, 1.0)
                if records:
                    with self.blocks.recording(1):
                        velocity(latents, 1.0)
                    self.blocks.clear()
            mark(self.device).wait()

    def fit_colours(self) -> None:
        """Finds out what colours the latents have: from then on stages show thumbnails. Raises ModelFailed and
        NotFinite as `decode` does."""

        def decode(tokens: numpy.ndarray, rows: int, cols: int) -> numpy.ndarray:
            return self.decode(torch.from_numpy(tokens), rows, cols)

        self.colours = fit_colours(decode, self.facts["channels"], self.facts["token_pixels"])

    def prompts(self, job: StageJob) -> list[str]:
        """The prompt; with classifier-free guidance above 1 the negative prompt, and then it."""
        is_cfg = self.facts["guidance"] is not None and self.facts["guidance"]["kind"] == "cfg"
        if is_cfg and job.guidance is not None and job.guidance > 1:
            return [job.options.negative_prompt, job.options.prompt]
        return [job.options.prompt]

    def places(self, job: StageJob) -> Places:
        """Where the tokens stand, in the unit of the contract: low tokens where one is low or a place is at a half."""
        unit = 2 if (job.scale == 2).any() or (job.img_ids % 1 != 0).any() else 1
        cell = self.facts["token_pixels"] * unit
        ids = torch.from_numpy(job.img_ids).to(self.device)
        return Places(ids, rows=job.options.height // cell, cols=job.options.width // cell)

    def decode(self, latents: torch.Tensor, rows: int, cols: int) -> numpy.ndarray:
        with self.failing("decoder"), stream(self.decode_stream), torch.no_grad():
            tokens = self.adapter.to_decoder(latents.to(self.device), self.vae)
            picture = self.vae.decode(unpack(tokens, rows, cols).to(self.vae.dtype), return_dict=False)[0]
            # as bytes it would be black, and paid for
            if not torch.isfinite(picture).all():
                raise NotFinite("the picture")
            pixels = (picture[0].float() / 2 + 0.5).clamp(0, 1).mul(255).round().to(torch.uint8)
            return pixels.permute(1, 2, 0).contiguous().cpu().numpy()

    def close(self) -> None:
        self.settings.close()
        self.texts.clear()
        del self.adapter, self.text, self.vae, self.blocks, self.compiled
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    @contextmanager
    def failing(self, part: str) -> Iterator[None]:
        """Gives what a part throws as ModelFailed, and memory back where there was too little."""
        try:
            yield
        except (Stopped, NotFinite, ModelFailed):
            raise
        except Exception as cause:
            # the frames of the failed call hold tensors for as long as somebody holds the exception
            traceback.clear_frames(cause.__traceback__)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            raise ModelFailed(part, cause) from cause


def stream(which: torch.cuda.Stream | None) -> AbstractContextManager[Any]:
    """Work of the block goes to a stream; on a CPU there is none."""
    return nullcontext() if which is None else torch.cuda.stream(which)


def unpack(tokens: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
    """Tokens [(rows cols), (c i j)] as latents [1, c, (rows i), (cols j)]."""
    grid = tokens.unflatten(0, (rows, cols)).unflatten(2, (-1, 2, 2))
    return grid.permute(2, 0, 3, 1, 4).flatten(3, 4).flatten(1, 2)[None]
