"""What the detector gets right, on fresh scenes that mix held-out combinations, and what real compositions look like to
it: facts.json, reference.safetensors and the reference numbers of the tests.
"""

import json
import os
import platform
import random
import sys
import time

import numpy as np
from PIL import Image
from safetensors.numpy import save_file

import look
import measured_scenes
import nets
import sprites
from sprites import scenes

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../eval"))
import make_prompts

THRESHOLDS = {"place": 0.25, "name": 0.5, "colour": 0.5, "background": 0.12, "border": 0.5}
FALSE_ACCEPTS = (
    0.05  # the name's threshold is the least that keeps them under this, on things to refuse that were trained on
)
SIZE, SCENES, LAYOUTS = 256, 2000, 6
HERE = os.path.dirname(os.path.abspath(__file__))


def picked(style: str, count: int, seed: int, held: bool) -> list[scenes.Scene]:
    """Scenes that mix a held-out combination, or that mix none."""
    rng, found = random.Random(seed), []
    while len(found) < count:
        scene = measured_scenes.sample(rng, sprites.VOCABULARY, style=style)
        if bool(scenes.held_out(scene)) == held:
            found.append(scene)
    return found


def sharp(rgb: np.ndarray) -> np.ndarray:
    return rgb


def soft(rgb: np.ndarray) -> np.ndarray:
    """As a small generator's picture: three eighths of its detail, and some noise."""
    rng = np.random.default_rng(int(rgb.sum()) % 2**31)
    small = (
        Image.fromarray(rgb)
        .resize((rgb.shape[1] * 3 // 8, rgb.shape[0] * 3 // 8), Image.BICUBIC)
        .resize((rgb.shape[1], rgb.shape[0]), Image.BICUBIC)
    )
    return (np.asarray(small) + rng.normal(0, 5, rgb.shape)).clip(0, 255).astype(np.uint8)


def at(thing: scenes.Thing, seen: dict) -> bool:
    """At the same place: centres within 0.3 sides, sides within a factor of 1.5."""
    return (
        max(abs(seen["x"] - thing.x), abs(seen["y"] - thing.y)) < 0.3 * thing.side
        and 2 / 3 < seen["side"] / thing.side < 1.5
    )


def accuracy(detector: look.Detector, picked_scenes: list[scenes.Scene], style: str, roughly=sharp) -> dict:
    """`objects`: share of the things found with the right name at the right place. `colours`: among those, right;
    `recoloured`: among those that were recoloured. `counts`: pictures where every name is seen as often as it is there
    and no other. `spurious`: named things a picture that are not there. `backgrounds`: pictures with the right one.
    """
    total = dict.fromkeys(
        [
            "things",
            "objects",
            "asked",
            "colours",
            "recoloured",
            "asked recoloured",
            "counts",
            "spurious",
            "backgrounds",
        ],
        0,
    )
    wrong = {}
    for scene in picked_scenes:
        seen = detector.look(roughly(scenes.draw(scene, SIZE, SIZE, sprites.VOCABULARY, style)))
        left = [each for each in seen["objects"] if each["name"]]
        total["backgrounds"] += seen["background"] == scene.background
        total["counts"] += sorted(each["name"] for each in left) == sorted(thing.name for thing in scene.things)
        for thing in scene.things:
            total["things"] += 1
            hit = next((each for each in left if each["name"] == thing.name and at(thing, each)), None)
            if not hit:
                there = next((str(each["name"]) for each in seen["objects"] if at(thing, each)), "nothing")
                wrong[f"{thing.name} → {there}"] = wrong.get(f"{thing.name} → {there}", 0) + 1
                continue
            left.remove(hit)
            right = (hit["colour"] or "none") in sprites.right_colours(thing.name, thing.colour, style)
            total["objects"] += 1
            total["colours"] += right
            if not right:
                said = f"{thing.colour} {thing.name} → {hit['colour']}"
                wrong[said] = wrong.get(said, 0) + 1
            if thing.colour:
                total["asked recoloured"] += 1
                total["recoloured"] += right
        total["spurious"] += len(left)
    n = len(picked_scenes)
    print(style, roughly.__name__, sorted(wrong.items(), key=lambda each: -each[1])[:24], flush=True)
    shares = {
        "objects": total["objects"] / total["things"],
        "colours": total["colours"] / max(1, total["objects"]),
        "recoloured": total["recoloured"] / max(1, total["asked recoloured"]),
        "counts": total["counts"] / n,
        "backgrounds": total["backgrounds"] / n,
        "spurious": total["spurious"] / n,
    }
    return {"scenes": n, "things": total["things"], **{name: round(value, 4) for name, value in shares.items()}}


def refused_pictures(part: str, count: int, seed: int) -> list[tuple[np.ndarray, str]]:
    """One thing that is none of the 64 in the middle of a plain picture, and its kind; and pictures of noise alone."""
    rng, found = np.random.default_rng(seed), []
    pixels, kinds = sprites.refused_many(part, count, seed)
    for thing, kind in zip(pixels, kinds, strict=True):
        canvas = Image.new("RGB", (SIZE, SIZE), list(scenes.BACKGROUNDS.values())[rng.integers(11)])
        side = int(rng.uniform(0.4, 0.85) * SIZE)
        image, room = Image.fromarray(thing).resize((side, side), Image.BICUBIC), SIZE - side
        canvas.paste(image, (int(room * rng.uniform(0.3, 0.7)), int(room * rng.uniform(0.3, 0.7))), image)
        found.append((np.asarray(canvas), kind))
    for _ in range(count // 10):
        noise = 128 + sum(
            amount * np.stack([sprites.waves(rng, cells, SIZE) for _ in range(3)], -1)
            for amount, cells in ((40, 6), (30, 12), (20, 40))
        )
        found.append((noise.clip(0, 255).astype(np.uint8), "noise"))
    return found


def false_accepts(detector: look.Detector, pictures: list[tuple[np.ndarray, str]]) -> dict:
    """Share of the pictures in which any of the 64 is seen, in all and by kind."""
    kinds = {}
    for rgb, kind in pictures:
        kinds.setdefault(kind, []).append(any(each["name"] for each in detector.look(rgb)["objects"]))
    every = [one for each in kinds.values() for one in each]
    return {
        "pictures": len(every),
        "any": round(float(np.mean(every)), 4),
        **{kind: round(float(np.mean(each)), 4) for kind, each in sorted(kinds.items())},
    }


def name_threshold(detector: look.Detector) -> float:
    """The least threshold that keeps false accepts low, on what was trained on: nothing held out is looked at."""
    scores = [
        max((each["score"] for each in detector.look(rgb, raw=True)["objects"]), default=0.0)
        for rgb, _ in refused_pictures("train", 500, 11)
    ]
    kept = [
        each["score"]
        for style in sprites.STYLES
        for scene in picked(style, 100, 12, False)
        for each in detector.look(scenes.draw(scene, SIZE, SIZE, sprites.VOCABULARY, style), raw=True)["objects"]
    ]
    least = max(0.3, min(0.9, float(np.quantile(scores, 1 - FALSE_ACCEPTS))))
    print(
        f"name threshold {least:.3f}; {np.mean(np.array(kept) >= least):.4f} of the things seen in training scenes"
        " score above it",
        flush=True,
    )
    return round(least, 2)


def frechet(a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]) -> float:
    """Squared Fréchet distance of two Gaussians (mean, covariance)."""
    values, vectors = np.linalg.eigh(a[1])
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    return float(
        np.square(a[0] - b[0]).sum()
        + np.trace(a[1])
        + np.trace(b[1])
        - 2 * np.sqrt(np.linalg.eigvalsh(root @ b[1] @ root).clip(0)).sum()
    )


def gaussian(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return features.mean(0), np.cov(features, rowvar=False)


def reference(detector: look.Detector, out: str) -> dict:
    """Mean and covariance of the features of real pictures of the prompts, `LAYOUTS` of each, half at 256² and half at
    512²; and, for scale, the distance of other sets of one picture a prompt.
    """
    prompts, rng = make_prompts.entries(), random.Random(7)
    features = [
        detector.features(scenes.draw(make_prompts.scene_of(entry, rng), size, size, sprites.VOCABULARY))
        for size in (256, 512)
        for _ in range(LAYOUTS // 2)
        for entry in prompts
    ]
    all_ = gaussian(np.stack(features).astype(np.float64))
    save_file(
        {"mean": all_[0].astype(np.float32), "covariance": all_[1].astype(np.float32).reshape(-1)},
        os.path.join(out, "reference.safetensors"),
        {"pictures": str(len(features))},
    )

    def of(pictures) -> float:
        found = np.stack([detector.features(rgb) for rgb in pictures]).astype(np.float64)
        return round(frechet(all_, gaussian(found)), 4)

    def drawn(entry: dict, style: str) -> np.ndarray:
        return scenes.draw(make_prompts.scene_of(entry, rng), SIZE, SIZE, sprites.VOCABULARY, style)

    real = [drawn(entry, "fluent") for entry in prompts]
    return {
        "pictures": len(features),
        f"distances of {len(prompts)} pictures": {
            "real": of(real),
            "real, soft": of(map(soft, real)),
            "real in Noto": of(drawn(entry, "noto") for entry in prompts),
            "things to refuse": of(rgb for rgb, _ in refused_pictures("train", len(prompts) * 10 // 11, 5)),
        },
    }


def fixtures(detector: look.Detector, folder: str) -> None:
    """A few small held-out scenes and all that is seen in them: what the TypeScript is held to."""
    os.makedirs(folder, exist_ok=True)
    rng, cases = random.Random(9), []
    for number, (task, width, height) in enumerate(
        [
            ("single", 128, 128),
            ("two", 160, 160),
            ("counting", 160, 160),
            ("attribution", 192, 192),
            ("many", 192, 96),
            ("position", 96, 176),
        ]
    ):
        while True:
            scene = measured_scenes.sample(rng, sprites.VOCABULARY, width / height, task)
            if scenes.held_out(scene) or task == "single":
                break
        rgb = scenes.draw(scene, width, height, sprites.VOCABULARY)
        if number == 1:
            rgb = soft(rgb)
        Image.fromarray(rgb).save(os.path.join(folder, f"{task}.png"), optimize=True)
        seen = detector.look(rgb)
        cases.append(
            {
                "file": f"{task}.png",
                "caption": scene.caption,
                "things": [
                    {"name": t.name, "colour": t.colour, "x": t.x, "y": t.y, "side": t.side} for t in scene.things
                ],
                "seen": {**seen, "features": [round(float(v), 6) for v in detector.features(rgb)]},
            }
        )
    with open(os.path.join(folder, "seen.json"), "w") as file:
        json.dump({"command": "python lab/detector/train.py --only measure", "cases": cases}, file, indent=1)


def main(out: str) -> None:
    begin = time.time()
    facts = {
        "names": sprites.VOCABULARY.names,
        "colours": sprites.COLOURS,
        "backgrounds": scenes.BACKGROUNDS,
        "thresholds": dict(THRESHOLDS),
        "sizes": {
            "short": nets.SHORT,
            "cell": nets.CELL,
            "unit": nets.UNIT,
            "crop": nets.CROP,
            "context": nets.CONTEXT,
            "usual": nets.USUAL,
            "featureShort": look.FEATURE_SHORT,
            "features": nets.FEATURES,
        },
    }
    detector = look.Detector(out, facts)
    facts["thresholds"]["name"] = name_threshold(detector)
    held = {style: picked(style, SCENES, 2028, True) for style in sprites.STYLES}
    facts["accuracy"] = {
        "about": accuracy.__doc__.replace("\n    ", " "),
        "size": SIZE,
        **{style: accuracy(detector, held[style], style) for style in sprites.STYLES},
        **{f"{style}, soft": accuracy(detector, held[style][: SCENES // 4], style, soft) for style in sprites.STYLES},
    }
    facts["falseAccepts"] = false_accepts(detector, refused_pictures("test", 700, 31))
    for name in ("accuracy", "falseAccepts"):
        print(json.dumps(facts[name], indent=1), flush=True)
    facts["reference"] = reference(detector, out)
    facts["versions"] = {"python": platform.python_version(), "numpy": np.__version__}
    with open(os.path.join(out, "facts.json"), "w") as file:
        file.write(json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
    fixtures(
        detector,
        os.path.join(HERE, "../../../lab/test/scenes") if os.path.samefile(out, HERE) else os.path.join(out, "scenes"),
    )
    print(json.dumps(facts["reference"]), f"measured, {time.time() - begin:.0f} s", flush=True)
