"""What the field's models cost on a GPU: seconds, work and rates of plain runs and of RALU's stages, side by side.

    python bench.py --out FOLDER --sections rate,flux,compiled,parts
    python bench.py --out FOLDER --sections rate,fp8,sd3,klein,server

The two commands together fit twelve minutes of an H100. FOLDER/bench.json is written anew after each section and kept
by the second command; a section that --seconds leaves no time for is named there as skipped. With --toy every line runs
on a CPU, on small models.

The transformers have the exact shapes of FLUX.1, Stable Diffusion 3 Medium and FLUX.2 klein 4B. Their weights are
random at the scale of trained ones, because a card's clock follows the power it draws and zeros run faster. Pictures
mean nothing. Steps run through the server's own engine. The rows of a section are timed in turn, several times over, so
that they are compared under one clock; the median is given.
"""

from __future__ import annotations

import argparse
import gc
import http.client
import json
import os
import signal
import socket
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import numpy
import torch
import transformers
from torch import nn

from ralu_stage.adapters.adapter import Adapter
from ralu_stage.adapters.flux import Flux
from ralu_stage.adapters.flux2 import Flux2
from ralu_stage.adapters.sd3 import SD3
from ralu_stage.contract.message import Message, decode_messages, encode_message
from ralu_stage.contract.request import Cache, StageJob, StageOptions
from ralu_stage.engine.clock import mark
from ralu_stage.engine.compile import Compiled, static_counts
from ralu_stage.engine.diffusers_model import DiffusersModel
from ralu_stage.engine.engine_class import describe_engine
from ralu_stage.flops import StepWork, flux2_work, flux_work, sd3_work
from ralu_stage.main import serve
from ralu_stage.quantize import quantize
from ralu_stage.text.encoded import Encoded

SPREAD = 0.02
"""Standard deviation of a trained matrix."""
TOKEN_PIXELS = 16
SERVER_LIMIT_S = 60.0


@dataclass(frozen=True)
class Row:
    """One way to make a picture: steps of each stage, shares upsampled early, and the ratio of work that the paper
    states for it."""

    name: str
    steps: tuple[int, ...]
    ratios: tuple[float, ...] = ()
    cache: Cache | None = None
    paper: float | None = None


def taylor(warmup: int) -> Cache:
    return Cache(kind="taylor_blocks", interval=2, order=2, warmup=warmup)


FLUX_ROWS = [
    Row("plain 50", (50,), paper=1.0),
    Row("plain 10", (10,), paper=2991.0 / 610.02),
    Row("plain 7", (7,), paper=2991.0 / 431.45),
    Row("4x", (5, 6, 7), (0.3,)),
    Row("5x", (4, 5, 6), (0.2,), paper=2991.0 / 540.47),
    Row("7x", (2, 3, 5), (0.1,), paper=2991.0 / 426.01),
    Row("5x + TaylorSeer, W = 3", (4, 5, 6), (0.2,), taylor(3)),
    Row("5x + TaylorSeer, W = 2", (4, 5, 6), (0.2,), taylor(2)),
    # schnell has dev's blocks and no guidance embedding, whose work is a hundred-thousandth of a step's
    Row("schnell, plain 4", (4,), paper=2991.0 / 252.88),
    Row("schnell, few", (1, 1, 2), (0.3,), paper=2991.0 / 187.92),
]
FP8_ROWS = [row for row in FLUX_ROWS if row.name in ("plain 50", "plain 7", "7x")]
SD3_ROWS = [
    Row("plain 28", (28,), paper=1.0),
    Row("plain 14", (14,), paper=351.66 / 183.30),
    Row("2x", (5, 6, 9), (0.3,), paper=351.66 / 181.09),
    Row("3x", (3, 3, 6), (0.2,), paper=351.66 / 116.61),
]
KLEIN_ROWS = [Row("plain 4", (4,)), Row("few", (1, 1, 2), (0.3,))]


# ---- models ----


@dataclass(frozen=True)
class Shape:
    """A transformer and what it reads; `small` replaces values of its configuration with --toy."""

    kind: type
    config: dict[str, Any]
    small: dict[str, Any]
    adapter: Callable[[Any], Adapter]
    work: Callable[[dict[str, Any], int, bool], StepWork]
    text_tokens: int
    guidance: dict[str, Any] | None


SHAPES = {
    "flux": Shape(
        diffusers.FluxTransformer2DModel,
        {
            "in_channels": 64,
            "num_layers": 19,
            "num_single_layers": 38,
            "attention_head_dim": 128,
            "num_attention_heads": 24,
            "joint_attention_dim": 4096,
            "pooled_projection_dim": 768,
            "guidance_embeds": True,
            "axes_dims_rope": (16, 56, 56),
        },
        {
            "num_layers": 1,
            "num_single_layers": 2,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "axes_dims_rope": (4, 6, 6),
        },
        Flux,
        flux_work,
        512,
        {"min": 1, "max": 10, "default": 3.5, "kind": "embedded"},
    ),
    "sd3": Shape(
        diffusers.SD3Transformer2DModel,
        {
            "sample_size": 128,
            "patch_size": 2,
            "in_channels": 16,
            "out_channels": 16,
            "num_layers": 24,
            "attention_head_dim": 64,
            "num_attention_heads": 24,
            "joint_attention_dim": 4096,
            "caption_projection_dim": 1536,
            "pooled_projection_dim": 2048,
            "pos_embed_max_size": 192,
        },
        {"num_layers": 2, "num_attention_heads": 2, "attention_head_dim": 16, "caption_projection_dim": 32},
        SD3,
        sd3_work,
        333,
        {"min": 1, "max": 20, "default": 7.0, "kind": "cfg"},
    ),
    "klein": Shape(
        diffusers.Flux2Transformer2DModel,
        {
            "in_channels": 128,
            "num_layers": 5,
            "num_single_layers": 20,
            "attention_head_dim": 128,
            "num_attention_heads": 24,
            "joint_attention_dim": 7680,
            "axes_dims_rope": (32, 32, 32, 32),
            "mlp_ratio": 3.0,
            "timestep_guidance_channels": 256,
            "guidance_embeds": False,
        },
        {
            "num_layers": 1,
            "num_single_layers": 2,
            "attention_head_dim": 16,
            "num_attention_heads": 2,
            "axes_dims_rope": (4, 4, 4, 4),
        },
        Flux2,
        flux2_work,
        512,
        None,
    ),
}


class RandomText:
    """Random text of a prompt's shape."""

    def __init__(self, config: dict[str, Any], text_tokens: int) -> None:
        self.text_tokens = text_tokens
        self.states = torch.randn(1, text_tokens, config["joint_attention_dim"])
        pooled = config.get("pooled_projection_dim")
        self.pooled = None if pooled is None else torch.randn(1, pooled)

    def tokens_of(self, component: str) -> int:
        return self.text_tokens

    def encode(self, prompt: str) -> Encoded:
        return Encoded(self.states, self.pooled, ())


@torch.no_grad()
def fill(module: nn.Module) -> nn.Module:
    """Random weights: matrices and kernels at the scale of trained ones, biases of that size, norms as they are."""
    for name, values in module.named_parameters():
        if values.ndim > 1 or name.endswith("bias"):
            values.normal_(0, SPREAD)
    return module.eval().requires_grad_(False)


@dataclass
class Bench:
    """The machine, the size of things, and the time that is left."""

    device: torch.device
    is_toy: bool
    ends: float
    out: Path
    results: dict[str, Any] = field(default_factory=dict)
    kept: dict[str, DiffusersModel] = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32 if self.is_toy else torch.bfloat16

    @property
    def side(self) -> int:
        """Tokens a side of the full grid: 1024 x 1024 pixels."""
        return 8 if self.is_toy else 64

    @property
    def repeats(self) -> int:
        return 1 if self.is_toy else 5

    def build(self, make: Callable[[], nn.Module]) -> nn.Module:
        """A module made on the device in the benchmark's type, with random weights."""
        torch.set_default_dtype(self.dtype)
        try:
            with torch.device(self.device):
                return fill(make())
        finally:
            torch.set_default_dtype(torch.float32)

    def config(self, name: str) -> dict[str, Any]:
        shape = SHAPES[name]
        return shape.config | (shape.small if self.is_toy else {})

    def text_tokens(self, name: str) -> int:
        return 16 if self.is_toy else SHAPES[name].text_tokens

    def work(self, name: str) -> StepWork:
        config = self.config(name)
        return SHAPES[name].work(config, self.text_tokens(name), bool(config.get("guidance_embeds")))

    def make(self, name: str, kind: str = "none") -> DiffusersModel:
        """A model behind the server's engine, its blocks quantized as `kind` says."""
        shape, config = SHAPES[name], self.config(name)
        transformer = self.build(lambda: shape.kind(**config))
        adapter = shape.adapter(transformer)
        if kind != "none":
            quantize(transformer, kind, self.device)
        pixels = self.side * TOKEN_PIXELS
        facts = {
            "id": name,
            "aliases": [],
            "channels": adapter.channels,
            "token_pixels": TOKEN_PIXELS,
            "sizes": [{"width": pixels, "height": pixels}],
            "shift": [{"tokens": 1, "shift": 3.0}],
            "steps": 50,
            "guidance": shape.guidance,
            "negative_prompt": False,
            "text_tokens": self.text_tokens(name),
            "max_tokens": self.side**2,
            "flops": self.work(name).facts(1) | {"decode_per_pixel": 0, "text": 0},
            "digest": "random",
            "licence": "",
            "card": "",
        }
        return DiffusersModel(
            facts=facts,
            engine_class=describe_engine(self.device, self.dtype, quantize=kind, offload="none", compiles=False),
            deterministic=False,
            device=self.device,
            adapter=adapter,
            text=RandomText(config, self.text_tokens(name)),
            vae=nn.Identity(),
        )

    def flux(self) -> DiffusersModel:
        if "flux" not in self.kept:
            self.kept["flux"] = self.make("flux")
        return self.kept["flux"]

    def drop(self) -> None:
        """Lets go of the models kept: memory that is measured is the next one's alone."""
        self.kept.clear()
        # compiled blocks refer to themselves
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def left(self) -> float:
        return self.ends - time.monotonic()


def compile_blocks(bench: Bench, model: DiffusersModel, rows: Sequence[Row]) -> float:
    """Compiles the model's blocks for the token counts of the rows; the seconds it took."""
    began = time.monotonic()
    ratios = sorted({ratio for row in rows for ratio in row.ratios})
    backend = "eager" if bench.is_toy else "inductor"
    model.compiled = Compiled(model.adapter.transformer, static_counts(bench.side, bench.side, ratios), backend)
    model.warm_up(records=any(row.cache for row in rows))
    return time.monotonic() - began


# ---- rows ----


def grid(rows: int, cols: int) -> numpy.ndarray:
    """Places [rows cols, 3] of a grid, row by row."""
    places = numpy.zeros((rows, cols, 3), numpy.float32)
    places[..., 1], places[..., 2] = numpy.arange(rows)[:, None], numpy.arange(cols)
    return places.reshape(-1, 3)


def places_of(stage: int, row: Row, side: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Places and scales of a stage's tokens: the small grid, mixed grids, the full one."""
    stages = len(row.steps)
    if stage == stages - 1:
        return grid(side, side), numpy.ones(side**2, numpy.uint8)
    low = grid(side // 2, side // 2)
    early = int(row.ratios[stage - 1] * len(low)) if stage > 0 else 0
    offsets = numpy.array([[0, 0, 0], [0, 0, 0.5], [0, 0.5, 0], [0, 0.5, 0.5]], numpy.float32)
    children = (low[:early, None] + offsets).reshape(-1, 3)
    scale = numpy.array([2] * (len(low) - early) + [1] * len(children), numpy.uint8)
    return numpy.concatenate([low[early:], children]), scale


def jobs_of(row: Row, model: DiffusersModel, side: int) -> list[StageJob]:
    """The stages of a row. Which noise levels they visit costs nothing, so each has its share of an even schedule."""
    stages, values = len(row.steps), 4 * model.adapter.channels
    guidance = model.facts["guidance"]
    jobs = []
    for stage, steps in enumerate(row.steps):
        ids, scale = places_of(stage, row, side)
        options = StageOptions(
            model=model.facts["id"], prompt="a red apple", negative_prompt="", guidance=None,
            width=side * TOKEN_PIXELS, height=side * TOKEN_PIXELS, decode="none", rgb=False, format="png", quality=80,
            preview=None, cache=row.cache, traceparent="",
        )  # fmt: skip
        jobs.append(
            StageJob(
                model=model.facts["id"],
                options=options,
                latents=numpy.random.default_rng(stage).standard_normal((len(ids), values)).astype(numpy.float32),
                img_ids=ids,
                scale=scale,
                sigmas=numpy.linspace(1 - stage / stages, 1 - (stage + 1) / stages, steps + 1, dtype=numpy.float32),
                guidance=guidance["default"] if guidance else None,
                cover=None,
            )
        )
    return jobs


def time_rows(bench: Bench, model: DiffusersModel, rows: Sequence[Row], work: StepWork, rate: float) -> dict[str, Any]:
    """Denoising of each row: seconds, work, rate, and how much faster than the first row beside how much less work.

    `rate` is the matrix rate of this run, TFLOP/s.
    """
    if bench.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    guidance = model.facts["guidance"]
    passes = 2 if guidance and guidance["kind"] == "cfg" else 1
    facts = work.facts(passes)
    jobs = {row.name: jobs_of(row, model, bench.side) for row in rows}
    for row in rows:  # warm: memory, kernels, text
        run_row(model, jobs[row.name])
    seconds: dict[str, list[float]] = {row.name: [] for row in rows}
    counted: dict[str, float] = {}
    for _ in range(bench.repeats):
        for row in rows:
            took, evaluations = run_row(model, jobs[row.name])
            seconds[row.name].append(took)
            counted[row.name] = sum(
                count * (facts["fixed"] + facts["per_token"] * n + facts["per_token_squared"] * n**2) / 1e12
                for count, n in zip(evaluations, (len(job.img_ids) for job in jobs[row.name]), strict=True)
            )
        if bench.left() < 0:
            break
    first = rows[0].name
    base = statistics.median(seconds[first])
    table = {}
    for row in rows:
        median = statistics.median(seconds[row.name])
        ratio, faster = counted[first] / counted[row.name], base / median
        table[row.name] = {
            "seconds": median,
            "seconds_least": min(seconds[row.name]),
            "seconds_most": max(seconds[row.name]),
            "runs": len(seconds[row.name]),
            "ms_a_step": 1000 * median / sum(row.steps),
            "tflops": counted[row.name],
            "tflops_a_second": counted[row.name] / median,
            "share_of_matrix_rate": counted[row.name] / median / rate,
            "counted_ratio": ratio,
            "paper_ratio": row.paper,
            "measured_ratio": faster,
            "share_of_counted_ratio": faster / ratio,
        }
    memory = torch.cuda.max_memory_allocated() / 1e9 if bench.device.type == "cuda" else None
    return {"engine": model.engine_class, "memory_gb": memory, "rows": table}


def run_row(model: DiffusersModel, jobs: Sequence[StageJob]) -> tuple[float, list[int]]:
    """Seconds of denoising, and evaluations of each stage."""
    done = [model.denoise(job, lambda *_: None, lambda: False) for job in jobs]
    return sum(each.compute_ms for each in done) / 1000, [each.evaluations for each in done]


# ---- sections ----


def measure_rate(bench: Bench) -> dict[str, Any]:
    """The matrix rate: products of square matrices of random values, median of ten."""
    n = 512 if bench.is_toy else 8192
    a, b = (torch.randn(n, n, device=bench.device, dtype=bench.dtype) for _ in range(2))
    times = [time_of(bench, lambda: a @ b) for _ in range(13)][3:]
    return {"n": n, "tflops_a_second": 2 * n**3 / 1e9 / statistics.median(times)}


def time_of(bench: Bench, work: Callable[[], Any]) -> float:
    """Milliseconds."""
    before = mark(bench.device)
    work()
    after = mark(bench.device)
    after.wait()
    return after.ms_since(before)


def measure_flux(bench: Bench, rate: float) -> dict[str, Any]:
    return time_rows(bench, bench.flux(), FLUX_ROWS, bench.work("flux"), rate)


def measure_compiled(bench: Bench, rate: float) -> dict[str, Any]:
    model = bench.flux()
    took = compile_blocks(bench, model, FLUX_ROWS)
    table = time_rows(bench, model, FLUX_ROWS, bench.work("flux"), rate)
    model.compiled = None
    for block in model.adapter.transformer.modules():
        block.__dict__.pop("forward", None)
    return {"compile_seconds": took} | table


def measure_fp8(bench: Bench, rate: float) -> dict[str, Any]:
    bench.drop()
    model = bench.make("flux", "int8" if bench.is_toy else "fp8")
    took = compile_blocks(bench, model, FP8_ROWS)
    return {"compile_seconds": took} | time_rows(bench, model, FP8_ROWS, bench.work("flux"), rate)


def measure_other(name: str, rows: Sequence[Row]) -> Callable[[Bench, float], dict[str, Any]]:
    def measure(bench: Bench, rate: float) -> dict[str, Any]:
        bench.drop()
        model = bench.make(name)
        took = compile_blocks(bench, model, rows)
        return {"compile_seconds": took} | time_rows(bench, model, rows, bench.work(name), rate)

    return measure


@torch.no_grad()
def measure_parts(bench: Bench, rate: float) -> dict[str, Any]:
    """FLUX.1's text encoders and decoder alone, milliseconds, median of five."""
    toy = bench.is_toy
    t5 = bench.build(
        lambda: transformers.T5EncoderModel(
            transformers.T5Config(
                d_model=64 if toy else 4096, d_kv=64, d_ff=64 if toy else 10240, num_layers=2 if toy else 24,
                num_heads=1 if toy else 64, feed_forward_proj="gated-gelu", vocab_size=32128,
            )
        )
    )  # fmt: skip
    clip = bench.build(lambda: transformers.CLIPTextModel(transformers.CLIPTextConfig(
        hidden_size=768, intermediate_size=3072, num_hidden_layers=2 if toy else 12, num_attention_heads=12,
    )))  # fmt: skip
    widths = (8, 8, 16, 16) if toy else (128, 256, 512, 512)
    vae = bench.build(lambda: diffusers.AutoencoderKL(
        block_out_channels=widths, down_block_types=("DownEncoderBlock2D",) * 4, latent_channels=16,
        up_block_types=("UpDecoderBlock2D",) * 4, layers_per_block=2, norm_num_groups=8 if toy else 32,
        use_quant_conv=False, use_post_quant_conv=False,
    ))  # fmt: skip
    ids = torch.randint(0, 32000, (1, 512), device=bench.device)
    parts = {
        "text_t5_512": lambda: t5(ids),
        "text_clip_77": lambda: clip(ids[:, :77]),
        "decode_full": lambda: vae.decode(latents(1)),
        "decode_half": lambda: vae.decode(latents(2)),
    }

    def latents(divisor: int) -> torch.Tensor:
        side = 2 * bench.side // divisor
        return torch.randn(1, 16, side, side, device=bench.device, dtype=bench.dtype)

    return {name: statistics.median([time_of(bench, work) for _ in range(6)][1:]) for name, work in parts.items()}


def measure_server(bench: Bench, rate: float) -> dict[str, Any]:
    """A stage of ten full steps through the real server on loopback: what it adds to its own compute, milliseconds."""
    bench.drop()
    model = bench.flux()
    row = Row("plain 10", (10,))
    body = request_body(jobs_of(row, model, bench.side)[0])
    token = "bench"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    seen: dict[str, Any] = {}

    def ask() -> None:
        try:
            seen["over"] = [over_compute(port, token, body, i) for i in range(bench.repeats + 1)][1:]
        except Exception as fault:
            seen["fault"] = f"{type(fault).__name__}: {fault}"
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    client = threading.Thread(target=ask)
    client.start()
    serve(lambda: [model], token=token, host="127.0.0.1", port=port)
    client.join()
    bench.kept.clear()  # the server closes what it served
    if "fault" in seen:
        return seen
    return {"over_compute_ms": statistics.median(seen["over"]), "over_compute_ms_each": seen["over"]}


def request_body(job: StageJob) -> bytes:
    fields = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in job.options.model_dump(exclude={"account_tag", "solver", "clean_latents"}).items()
    }
    names = ("latents", "img_ids", "scale", "sigmas")
    return encode_message(Message(fields, {name: getattr(job, name) for name in names}))


def over_compute(port: int, token: str, body: bytes, count: int) -> float:
    """Milliseconds of one stage on the wire beyond the time of its steps and its text."""
    ends = time.monotonic() + SERVER_LIMIT_S
    headers = {"authorization": f"Bearer {token}"}
    while True:
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SERVER_LIMIT_S)
            connection.request("GET", "/healthz")
            if connection.getresponse().status == 200:
                break
        except OSError:
            pass
        if time.monotonic() > ends:
            raise TimeoutError("the server is not ready")
        time.sleep(0.05)
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SERVER_LIMIT_S)
    connection.connect()
    began = time.perf_counter()
    connection.request("PUT", f"/v1/stages/bench-{count}", body, headers)
    answer = connection.getresponse()
    data = answer.read()
    took = 1000 * (time.perf_counter() - began)
    if answer.status != 200:
        raise RuntimeError(f"status {answer.status}: {data[:200]!r}")
    fields = list(decode_messages(data))[-1].metadata
    if fields.get("event") != "done":
        raise RuntimeError(f"the stage ended with {dict(fields)}")
    return took - float(fields["compute_ms"]) - float(fields["encode_text_ms"])


@dataclass(frozen=True)
class Section:
    measure: Callable[[Bench, float], dict[str, Any]]
    seconds: float
    """that it needs on an H100; it is not begun with less"""


SECTIONS = {
    "flux": Section(measure_flux, 110),
    "compiled": Section(measure_compiled, 140),
    "parts": Section(measure_parts, 25),
    "fp8": Section(measure_fp8, 110),
    "sd3": Section(measure_other("sd3", SD3_ROWS), 60),
    "klein": Section(measure_other("klein", KLEIN_ROWS), 45),
    "server": Section(measure_server, 40),
}


def goals(results: dict[str, Any]) -> dict[str, bool]:
    """What an H100 has to reach, of what was measured: whether it did."""
    reached = {}
    flux = results.get("compiled", results.get("flux", {})).get("rows", {})
    for name in ("4x", "5x", "7x"):
        if name in flux:
            reached[f"{name}: at least 95 % of its counted ratio"] = flux[name]["share_of_counted_ratio"] >= 0.95
    if "schnell, few" in flux:
        share = flux["schnell, few"]["share_of_counted_ratio"]
        reached["schnell, few: at least 95 % of its counted ratio"] = share >= 0.95
    if "plain 50" in flux:
        reached["a plain step in at most 145 ms"] = flux["plain 50"]["ms_a_step"] <= 145
    fp8 = results.get("fp8", {}).get("rows", {})
    if fp8:
        reached["a plain step in fp8 in at most 100 ms"] = fp8["plain 50"]["ms_a_step"] <= 100
    if "over_compute_ms" in results.get("server", {}):
        reached["the server adds at most 30 ms"] = results["server"]["over_compute_ms"] <= 30
    return reached


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of bench.json")
    parser.add_argument("--sections", default=",".join(["rate", *SECTIONS]), help="in this order; rate comes first")
    parser.add_argument("--seconds", type=float, default=330, help="time for all of them")
    parser.add_argument("--toy", action="store_true", help="small models on the CPU")
    flags = parser.parse_args()
    names = flags.sections.split(",")
    if names[0] != "rate" or not set(names[1:]) <= set(SECTIONS):
        parser.error(f"--sections is {flags.sections}, expected rate and then some of {', '.join(SECTIONS)}")
    device = torch.device("cpu" if flags.toy else "cuda")
    torch.manual_seed(0)
    bench = Bench(device, flags.toy, time.monotonic() + flags.seconds, flags.out)
    flags.out.mkdir(parents=True, exist_ok=True)
    path = flags.out / "bench.json"
    results = json.loads(path.read_text()) if path.exists() else {}

    def keep(name: str, result: Any) -> None:
        results[name] = result
        reached = {} if flags.toy else {"goals": goals(results)}
        path.write_text(json.dumps(results | reached, indent=1) + "\n")
        print(json.dumps({name: result}), flush=True)

    keep("engine", describe_engine(device, bench.dtype, quantize="none", offload="none", compiles=False))
    rate = measure_rate(bench)
    keep(f"rate of {','.join(names[1:])}", rate)
    for name in names[1:]:
        section = SECTIONS[name]
        if not flags.toy and bench.left() < section.seconds:
            keep(name, {"skipped": f"{bench.left():.0f} s were left, it needs {section.seconds:.0f}"})
            continue
        began = time.monotonic()
        try:
            result = section.measure(bench, rate["tflops_a_second"])
        except Exception as fault:  # the other sections still count
            result = {"fault": f"{type(fault).__name__}: {fault}"[:1000]}
        keep(name, result | {"section_seconds": time.monotonic() - began})


if __name__ == "__main__":
    main()
