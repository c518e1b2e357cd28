"""What a card would compute, on tensors without values: where each lies, its type, and that nothing waits for it."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import tiny
import torch
from jobs import make_job, mixed_grid
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from ralu_stage.engine.diffusers_model import DiffusersModel, unpack
from ralu_stage.engine.steps import run_steps
from ralu_stage.families import FAMILIES
from ralu_stage.model import Look

CARD, CPU = torch.device("cuda"), torch.device("cpu")
SIGMAS = [1.0, 0.7, 0.4, 0.0]
FORECAST = {"interval": 2, "order": 1, "warmup": 1}
RUNS = [
    {"solver": "ab2"},
    {"cache": {"kind": "taylor_velocity", **FORECAST}},
    {"cache": {"kind": "taylor_blocks", **FORECAST}},
]


class Transfers(TorchDispatchMode):
    """The operations that take values from one device to another. On a card they hold up the host."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        result = operation(*args, **(kwargs or {}))
        tensors = [each for each in (*args, result) if isinstance(each, torch.Tensor) and each.ndim > 0]
        if len({each.device.type for each in tensors}) > 1:
            self.seen.append(str(operation))
        return result


class Unhurried:
    """Takes the steps as they come, and looks at what they give."""

    def begin(self) -> None:
        pass

    def end(self, step: int, sigma: float, latents: torch.Tensor, _: Look) -> None:
        assert latents.device.type == "cuda" and latents.dtype == torch.float32


def lay(module: nn.Module, device: torch.device) -> None:
    """Weights in bfloat16 on a device, without values."""
    for part in module.modules():
        for name, values in list(part._parameters.items()):
            if values is not None:
                empty = torch.empty(values.shape, dtype=torch.bfloat16, device=device)
                part._parameters[name] = nn.Parameter(empty, requires_grad=False)
        for name, values in list(part._buffers.items()):
            if values is not None:
                dtype = torch.bfloat16 if values.is_floating_point() else values.dtype
                part._buffers[name] = torch.empty(values.shape, dtype=dtype, device=device)


@contextmanager
def on_a_card(name: str, offload: str, monkeypatch: pytest.MonkeyPatch):
    """A tiny model that believes in a card. There are no streams of one, so all is in one."""
    pipeline = tiny.MAKERS[name]()
    family = FAMILIES[type(pipeline).__name__]
    adapter = family.adapter(pipeline.transformer)
    monkeypatch.setattr(torch.cuda, "Stream", lambda *_, **__: None)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda _: None)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (8, 0))
    is_cfg = name in ("sd3", "sd3.5", "klein-base")
    facts = {
        "id": name,
        "channels": adapter.channels,
        "token_pixels": 16,
        "guidance": {"kind": "cfg" if is_cfg else "embedded", "default": 4.0},
    }
    text_device = CPU if offload == "text" else CARD
    with FakeTensorMode(allow_non_fake_inputs=True):
        for component, module in pipeline.components.items():
            if isinstance(module, nn.Module):
                lay(module, text_device if component.startswith("text_encoder") else CARD)
        model = DiffusersModel(
            facts=facts, engine_class="card", deterministic=False, device=CARD, adapter=adapter,
            text=family.text(pipeline, text_device), vae=pipeline.vae,
        )  # fmt: skip
        try:
            yield model
        finally:
            model.settings.close()


@pytest.mark.parametrize(
    ("name", "offload"),
    [("flux-dev", "text"), ("flux-schnell", "none"), ("sd3.5", "text"), ("klein", "text"), ("klein-base", "none")],
)
def test_a_stage_stays_on_the_card_and_waits_for_nothing(name, offload, monkeypatch):
    with on_a_card(name, offload, monkeypatch) as model, torch.no_grad():
        places, scale = mixed_grid(4, 4, [1, 6, 7])
        job = make_job(model, places=places, scale=scale, sigmas=SIGMAS, width=128, height=128)
        texts = [model.encode(prompt) for prompt in model.prompts(job)]
        for text in texts:
            for values in (text.states, text.pooled):
                assert values is None or (values.device.type, values.dtype) == ("cuda", torch.bfloat16)
        velocity = model.adapter.bind(model.places(job), texts, job.guidance)
        latents = torch.empty(len(places), 4 * model.adapter.channels, device=CARD)
        for run in RUNS:
            options = make_job(model, places=places, sigmas=SIGMAS, width=128, height=128, **run).options
            with Transfers() as transfers:
                result = run_steps(
                    velocity, latents, SIGMAS, Unhurried(), solver=options.solver, cache=options.cache,
                    blocks=model.blocks,
                )  # fmt: skip
            assert transfers.seen == []
            assert result.clean.device.type == "cuda" and result.clean.shape == latents.shape
            model.blocks.clear()


@pytest.mark.parametrize("name", ["flux-dev", "klein"])
def test_a_picture_is_decoded_on_the_card(name, monkeypatch):
    with on_a_card(name, "none", monkeypatch) as model, torch.no_grad():
        tokens = model.adapter.to_decoder(torch.empty(16, 4 * model.adapter.channels).to(CARD), model.vae)
        picture = model.vae.decode(unpack(tokens, 4, 4).to(model.vae.dtype), return_dict=False)[0]
        assert (picture.device.type, picture.dtype, picture.shape) == ("cuda", torch.bfloat16, (1, 3, 64, 64))


def test_a_transfer_would_be_seen():
    with FakeTensorMode(), Transfers() as transfers:
        torch.empty(3, device=CARD).to(CPU)
        torch.zeros(3, device=CARD)[:2] = torch.arange(2)
    assert len(transfers.seen) == 2
