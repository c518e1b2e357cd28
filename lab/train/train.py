"""Trains decoder and transformer on prepared data, within a stretch of time:

    python lab/train/train.py --to .45 && python lab/train/train.py

Needs what prepare.py wrote. A command takes at most `--seconds` from the start of its process on, by a plan that each
phase keeps, and brings the training from where it stands to the progress `--to`. Killed or ended, the next one goes on:
from its full state where that lies on this machine, else from the checkpoint in half precision that came back.

What comes back is in `--out`: the checkpoint (moving averages of the weights, which are what ships), written anew
every `--every` seconds, and what the phases took.
"""

import argparse
import json
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
from safetensors.torch import load_file
from tokenizers import Tokenizer

import atlas
import autoencoder
import checkpoint
import compose
import curriculum
import run
import scenes
import transformer
import vocabulary
from pool import Pool, crops
from time_plan import Phase, TimePlan
from vocabulary import Vocabulary

# of a command of PLANNED seconds; one of another length books as much of it
PLANNED = 300.0
BOOKINGS = {"load": 40.0, "decoder": 40.0, "scenes": 35.0, "compile": 60.0, "transformer": None, "close": 12.0}
OTHER_FILES = 2  # beside the checkpoint: what the phases took, and a log
MUON, ADAM = 2e-3, 1e-3  # peak rates
WARMUP = 60  # steps, where the optimizers begin
MOST_BAD = 50  # steps in a row without a usable gradient
SIZES = {
    # image tokens a step, scenes a pool relative to curriculum.SCENES, crops a step of the decoder and their side
    "full": {"tokens": 65536, "scenes": 1.0, "crops": 128, "crop": 128},
    "toy": {"tokens": 512, "scenes": 0.001, "crops": 4, "crop": 64},
}


class Training:
    """Model, optimizers, average and where they stand."""

    def __init__(self, data: Path, words: Vocabulary, size: str, device: str):
        self.size, self.device = size, device
        self.tokenizer = Tokenizer.from_file(str(data / "tokenizer.json"))
        self.components = load_file(data / "components.safetensors")
        torch.manual_seed(0)
        self.model = transformer.Velocity(self.tokenizer.get_vocab_size(), transformer.CONFIGS[size]).to(device)
        self.naming = transformer.Naming(self.model, len(words.names), len(scenes.COLOURS)).to(device)
        self.optimizers = transformer.optimizers(self.model, self.naming, MUON, ADAM)
        self.average = run.EMA(self.model, 0.998)
        self.decoder: dict[str, torch.Tensor] = {}  # as trained; empty before
        self.progress, self.step, self.warm_step, self.spent = 0.0, 0, 0, 0.0

    def travelling(self) -> dict[str, torch.Tensor]:
        """What the checkpoint holds."""
        decoder = self.decoder or autoencoder.untrained_decoder(self.components).state_dict()
        return {
            **{f"model.{key}": value for key, value in self.average.values.items()},
            **{f"naming.{key}": value for key, value in self.naming.state_dict().items()},
            **{f"decoder.{key}": value for key, value in decoder.items()},
        }

    def facts(self) -> dict:
        return {
            "size": self.size,
            "progress": self.progress,
            "step": self.step,
            "seconds": round(self.spent, 1),
            "decoder_trained": bool(self.decoder),
        }

    def save(self, out: Path, state: Path, limits: checkpoint.Limits) -> None:
        content = {
            "facts": self.facts(),
            "warm_step": self.warm_step,
            "model": self.model.state_dict(),
            "naming": self.naming.state_dict(),
            "average": self.average.values,
            "updates": self.average.updates,
            "optimizers": [optimizer.state_dict() for optimizer, _ in self.optimizers],
            "decoder": self.decoder,
        }
        state.parent.mkdir(parents=True, exist_ok=True)
        torch.save(content, f"{state}.part")
        os.replace(f"{state}.part", state)
        checkpoint.write(out, self.travelling(), self.facts(), limits)

    def resume(self, state: Path, folders: list[Path]) -> str:
        """Goes on from the farthest there is; what that was. Raises ValueError where it is of another size."""
        found = {str(folder): kept for folder in folders if (kept := checkpoint.read(folder))}
        # on the processor, where optimizers count their steps: asking a GPU for each count would hold it up
        local = torch.load(state, map_location="cpu", weights_only=True) if state.exists() else None
        best = max(found, key=lambda folder: found[folder][1]["progress"], default=None)
        if local and (best is None or local["facts"]["progress"] >= found[best][1]["progress"]):
            self.stand_at(local["facts"], state)
            self.model.load_state_dict(local["model"])
            self.naming.load_state_dict(local["naming"])
            self.average.values = {key: value.to(self.device) for key, value in local["average"].items()}
            self.average.updates = local["updates"]
            for (optimizer, _), each in zip(self.optimizers, local["optimizers"], strict=True):
                optimizer.load_state_dict(each)
            self.decoder, self.warm_step = local["decoder"], local["warm_step"]
            return str(state)
        if best is None:
            return "nothing"
        tensors, facts = found[best]
        self.stand_at(facts, Path(best))
        parts: dict[str, dict] = defaultdict(dict)
        for key, value in tensors.items():
            part, name = key.split(".", 1)
            parts[part][name] = value.to(self.device).float() if value.is_floating_point() else value.to(self.device)
        self.model.load_state_dict(parts["model"])
        self.naming.load_state_dict(parts["naming"])
        self.average = run.EMA(self.model, 0.998)
        # the optimizers begin anew, and the average is of many steps already
        self.average.updates = self.step
        self.decoder = parts["decoder"] if facts["decoder_trained"] else {}
        return best

    def stand_at(self, facts: dict, source: Path) -> None:
        if facts["size"] != self.size:
            raise ValueError(f"{source}: holds a training of size {facts['size']!r}, not {self.size!r}")
        self.progress, self.step, self.spent = facts["progress"], facts["step"], facts["seconds"]


def train_decoder(training: Training, compositor: compose.Compositor, data: dict, size: dict, phase: Phase) -> None:
    rng = np.random.default_rng(5)
    encode = autoencoder.encoder(training.components).to(training.device)
    decode = autoencoder.untrained_decoder(training.components).to(training.device)
    counts = {(128, 128): 2048, (256, 256): 1024, (512, 512): 256}
    pictures = []
    for shape, count in counts.items():
        scenes = data[shape]
        index = np.arange(min(max(2, round(count * size["scenes"])), len(scenes["lengths"])))
        pictures.append(
            torch.cat([compositor.compose(scenes, part)[0] for part in np.array_split(index, 16) if len(part)])
        )
    training.decoder = autoencoder.train_decoder(
        decode, encode, lambda: crops(pictures, size["crops"], size["crop"], rng), phase
    )


def make_pools(
    training: Training, compositor: compose.Compositor, data: dict, size: dict, to: float, phase: Phase
) -> dict[tuple[int, int], Pool]:
    """A pool of every shape on the way; each may take the share of the time that its pixels have of those left."""
    encode = autoencoder.encoder(training.components).to(training.device)
    shapes, pools = curriculum.shapes_between(training.progress, to), {}
    work = {shape: max(8, round(curriculum.SCENES[shape] * size["scenes"])) * shape[0] * shape[1] for shape in shapes}
    for at, shape in enumerate(shapes):
        now = time.monotonic()
        share = work[shape] / sum(work[each] for each in shapes[at:])
        stretch = Phase(f"scenes {shape}", now, now + share * phase.left)
        scenes = data[shape]
        # a later command shows other scenes, where there are more than it has time for
        first = int(training.progress * len(scenes["lengths"]))
        pools[shape] = Pool(scenes, shape, compositor, encode, first, work[shape] // (shape[0] * shape[1]), stretch)
        print(f"scenes {shape[0]} x {shape[1]}: {len(pools[shape])}", flush=True)
    return pools


class OutOfTime(Exception):
    pass


def compiled(
    training: Training, pools: dict[tuple[int, int], Pool], size: dict, backend: str, phase: Phase
) -> nn.Module:
    """The model compiled for every shape, with and without captions and gradients; as it is, where the phase is over
    first. What its passes leave in gradients is cleared.
    """

    def stop(*_):
        raise OutOfTime

    # one graph serves many shapes and lengths, but a text of one token, a single picture and no gradients each want
    # their own
    torch.compiler.config.recompile_limit = 16
    forward = torch.compile(training.model, dynamic=True, backend=backend)
    rng, before = np.random.default_rng(0), signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(phase.left, 1e-3))
    try:
        for pool in pools.values():
            for is_captioned in (True, False):
                x, things, ids = pool.batch(max(1, size["tokens"] // len(pool.img_ids)), 0.5, rng)
                loss, _ = transformer.flow_loss(
                    forward, training.naming, x, things, ids, pool.img_ids, is_captioned, is_guided=True
                )
                loss.backward()
        return forward
    except Exception:
        # the compiler may wrap what the alarm threw
        if phase.left > 0:
            raise
        print("compiling was not done in time: goes on without", flush=True)
        torch._dynamo.reset()
        return training.model
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        for optimizer, _ in training.optimizers:
            optimizer.zero_grad()


def train_transformer(
    training: Training,
    forward: nn.Module,
    pools: dict[tuple[int, int], Pool],
    size: dict,
    to: float,
    phase: Phase,
    save: Callable[[], None],
    every: float,
) -> None:
    """From the progress it stands at to `to`, evenly over the phase; at least one step. Raises ArithmeticError where
    MOST_BAD steps in a row have gradients that are no numbers; the weights are those of before.
    """
    rng, begin_progress, longest = np.random.default_rng(training.step), training.progress, 0.0
    begun, saved, told = time.monotonic(), time.monotonic(), time.monotonic()
    recent: dict[tuple[int, int], list[torch.Tensor]] = defaultdict(list)
    steps = bad = 0
    before = training.spent
    while steps == 0 or phase.left > longest:
        begin = time.monotonic()
        singles, shares = curriculum.phase_at(training.progress)
        rate = run.warm_then_fall(training.progress, training.warm_step, WARMUP)
        for optimizer, peak in training.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * rate
        shape = list(shares)[rng.choice(len(shares), p=list(shares.values()))]
        pool = pools[shape]
        x, things, ids = pool.batch(max(1, size["tokens"] // len(pool.img_ids)), singles, rng)
        loss, shown = transformer.flow_loss(
            forward,
            training.naming,
            x,
            things,
            ids,
            pool.img_ids,
            is_captioned=rng.random() >= transformer.CAPTION_DROPOUT,
            is_guided=training.progress > curriculum.GUIDED_FROM,
        )
        loss.backward()
        norm = run.clip_gradients(training.model.parameters(), training.naming.parameters())
        for optimizer, _ in training.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        training.average.update(training.model)
        if x.is_cuda:
            torch.cuda.synchronize()
        bad = 0 if norm.isfinite() else bad + 1
        if bad == MOST_BAD:
            raise ArithmeticError(f"{bad} steps in a row had gradients that are no numbers: see the checkpoint before")
        recent[shape].append(shown)
        now = time.monotonic()
        steps, training.step, training.warm_step = steps + 1, training.step + 1, training.warm_step + 1
        # the first steps allocate memory, and are no measure of the others
        longest = max(longest, now - begin) if steps > 5 else now - begin
        training.progress = begin_progress + (to - begin_progress) * phase.progress
        training.spent = before + now - begun
        if now - told > 15:
            told = now
            losses = ", ".join(
                f"{width} x {height} {torch.stack(values).mean().item():.4f}"
                for (width, height), values in recent.items()
            )
            print(f"progress {training.progress:.3f}, step {training.step}, {losses}", flush=True)
            recent.clear()
        if now - saved > every:
            save()
            saved = time.monotonic()
    training.progress = to


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--data", type=Path, default=Path(".ralu/train/data"), help="what prepare.py wrote")
    args.add_argument("--out", type=Path, default=Path(".ralu/train/out"), help="what comes back")
    args.add_argument("--resume", type=Path, help="a checkpoint that came back earlier; --out is looked into anyway")
    args.add_argument("--state", type=Path, default=Path(".ralu/train/state.pt"), help="the full state, kept here")
    args.add_argument("--seconds", type=float, default=PLANNED, help="of this command, from its process's start on")
    args.add_argument("--to", type=float, default=1.0, help="progress of the whole training that this command ends at")
    args.add_argument("--every", type=float, default=45.0, help="seconds between checkpoints")
    args.add_argument("--size", choices=SIZES, default="full")
    args.add_argument("--compiler", help="torch.compile's backend: inductor, or aot_eager, which only traces (none)")
    args.add_argument("--file-bytes", type=int, default=checkpoint.Limits.file_bytes, help="of a file that comes back")
    args.add_argument("--files", type=int, default=checkpoint.Limits.files, help="files that come back")
    args.add_argument("--all-bytes", type=int, default=checkpoint.Limits.all_bytes, help="of all that come back")
    a = args.parse_args()
    plan = TimePlan(a.seconds, {name: each and each * a.seconds / PLANNED for name, each in BOOKINGS.items()})
    limits = checkpoint.Limits(a.file_bytes, a.files, a.all_bytes)
    size = SIZES[a.size]

    plan.begin("load")
    data = {shape: dict(np.load(a.data / f"scenes-{shape[0]}x{shape[1]}.npz")) for shape in curriculum.SCENES}
    words = vocabulary.load(json.loads((a.data / "recipe.json").read_text())["vocabulary"])
    atlas.unpack_sprites(a.data / "sprites.zip")
    sprites = atlas.draw_atlas(data.values(), words)  # forks, so before the GPU is touched
    device = run.device()
    training = Training(a.data, words, a.size, device)
    checkpoint.check_size(training.travelling(), limits, OTHER_FILES)
    source = training.resume(a.state, [a.out, *([a.resume] if a.resume else [])])
    millions = sum(each.numel() for each in training.model.parameters()) / 1e6
    print(f"{millions:.1f} M parameters, goes on from {source} at progress {training.progress:.3f}", flush=True)
    if training.progress >= a.to:
        raise SystemExit(f"progress {training.progress:.3f} is past --to {a.to:g}: nothing is left to train")
    compositor = compose.Compositor(sprites, device)

    def save():
        training.save(a.out, a.state, limits)
        (a.out / "times.json").write_text(json.dumps(plan.table(), indent=1))

    if not training.decoder:
        train_decoder(training, compositor, data, size, plan.begin("decoder"))
        save()
    pools = make_pools(training, compositor, data, size, a.to, plan.begin("scenes"))
    forward = training.model
    if a.compiler:
        forward = compiled(training, pools, size, a.compiler, plan.begin("compile"))
    train_transformer(training, forward, pools, size, a.to, plan.begin("transformer"), save, a.every)
    plan.begin("close")
    save()
    plan.close()
    (a.out / "times.json").write_text(json.dumps(plan.table(), indent=1))
    for row in plan.table():
        booked = "what is left" if row["booked"] is None else f"{row['booked']:.0f} s"
        print(f"{row['phase']}: {row['taken']:.1f} s, booked {booked}", flush=True)


if __name__ == "__main__":
    main()
