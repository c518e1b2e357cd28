"""What the detector sees in a picture. `lab/eval/detect.ts` computes the same numbers; `lab/test/detect.test.ts` holds
it to these.
"""

import json
import os
from pathlib import Path

import numpy as np
import onnxruntime

import nets

FEATURE_SHORT = 128  # shorter side of the picture the features are taken from
RING, ROUNDS, NEAR, BELONGS = 2, 12, 8.0, 24.0  # of the background's fit: width in pixels, rounds, levels


def weights(begin: float, length: float, count: int, size: int) -> np.ndarray:
    """[count, size]: output pixel i is the mean of the input over [begin + i s, begin + (i + 1) s], s = length / count;
    beyond its ends the input repeats its last pixel.
    """
    s, w = length / count, np.zeros((count, size))
    for i in range(count):
        low, high = begin + i * s, begin + (i + 1) * s
        for j in range(int(np.floor(low)), int(np.ceil(high))):
            w[i, min(size - 1, max(0, j))] += max(0, min(high, j + 1) - max(low, j)) / s
    return w


def resample(rgb: np.ndarray, x: float, y: float, width: float, height: float, columns: int, rows: int) -> np.ndarray:
    """The rectangle of uint8 [h, w, 3] as float64 [rows, columns, 3] in levels, by area."""
    down = np.tensordot(weights(y, height, rows, rgb.shape[0]), rgb.astype(np.float64), (1, 0))
    return np.einsum("ij,rjc->ric", weights(x, width, columns, rgb.shape[1]), down)


def whole(rgb: np.ndarray, short: int, unit: int) -> np.ndarray:
    """All of it with about this shorter side; both sides multiples of `unit`."""
    h, w = rgb.shape[:2]

    def fit(side: int) -> int:
        return unit * int(np.floor(short / unit * side / min(w, h) + 0.5))

    return resample(rgb, 0, 0, w, h, fit(w), fit(h))


def to_net(levels: np.ndarray) -> np.ndarray:
    """[..., h, w, 3] in levels → float32 [..., 3, h, w] in [-1, 1]."""
    return np.ascontiguousarray(np.moveaxis(levels / 127.5 - 1, -1, -3)).astype(np.float32)


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x.astype(np.float64) - x.max())
    return e / e.sum()


# ---- background ----


def oklab(rgb) -> np.ndarray:
    """Levels [3] → OKLab [3]. Source: bottosson.github.io/posts/oklab"""
    c = np.asarray(rgb, np.float64).clip(0, 255) / 255
    c = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    lms = np.cbrt(
        np.array(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ]
        )
        @ c
    )
    return (
        np.array(
            [
                [0.2104542553, 0.7936177850, -0.0040720468],
                [1.9779984951, -2.4285922050, 0.4505937099],
                [0.0259040371, 0.7827717662, -0.8086757660],
            ]
        )
        @ lms
    )


def background_ends(small: np.ndarray) -> tuple[np.ndarray, float]:
    """Colours [2, 3] of the first and last row of the vertical ramp that most of the border lies on, and the share of
    the border that does. Reweighted least squares: first the least sum of distances, then distances beyond a few levels
    count for nothing.
    """
    h, w = small.shape[:2]
    y, x = np.mgrid[0:h, 0:w]
    ring = (y < RING) | (y >= h - RING) | (x < RING) | (x >= w - RING)
    t, rgb = y[ring] / (h - 1), small[ring]
    basis, weight = np.stack([1 - t, t], 1), np.ones(len(t))
    for round_ in range(ROUNDS):
        normal = basis.T @ (basis * weight[:, None])
        ends = np.linalg.solve(normal, basis.T @ (rgb * weight[:, None]))
        r = np.sqrt(np.square(rgb - basis @ ends).sum(1))
        weight = 1 / np.maximum(r, 4) if round_ < ROUNDS // 2 else 1 / (1 + (r / NEAR) ** 2) ** 2
    return ends, float((r < BELONGS).mean())


def background(small: np.ndarray, facts: dict) -> list[str]:
    """One name: plain; two: top to bottom; `other` where no name is near or most of the border is no ramp."""
    ends, share = background_ends(small)
    if share < facts["thresholds"]["border"]:
        return ["other"]
    said = []
    for end in ends:
        distance = {
            name: np.sqrt(np.square(oklab(rgb) - oklab(end)).sum()) for name, rgb in facts["backgrounds"].items()
        }
        name = min(distance, key=distance.get)
        said.append(name if distance[name] < facts["thresholds"]["background"] else "other")
    return said[:1] if said[0] == said[1] else said


# ---- things ----


def peaks(out: np.ndarray, least: float) -> list[tuple[float, float, float, float]]:
    """Output of `Places` [4, h, w] → (chance, x, y, side) in pixels of the small picture, the surest first; a weaker
    one within half a side of a surer one is the same thing.
    """
    _, h, w = out.shape
    found = []
    for i in range(h):
        for j in range(w):
            logit = out[0, i, j]
            if 1 / (1 + np.exp(-float(logit))) < least:
                continue
            if logit < out[0, max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].max():
                continue
            dx, dy, size = (float(v) for v in out[1:, i, j])
            found.append(
                (
                    1 / (1 + np.exp(-float(logit))),
                    (j + 0.5 + dx) * nets.CELL,
                    (i + 0.5 + dy) * nets.CELL,
                    nets.USUAL * np.exp(size),
                )
            )
    kept = []
    for one in sorted(found, key=lambda each: -each[0]):
        if all(max(abs(one[1] - k[1]), abs(one[2] - k[2])) >= 0.5 * max(one[3], k[3]) for k in kept):
            kept.append(one)
    return kept


class Detector:
    def __init__(self, folder: str, facts: dict | None = None):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.places, self.things = (
            onnxruntime.InferenceSession(os.path.join(folder, name), options, ["CPUExecutionProvider"])
            for name in ("places.onnx", "things.onnx")
        )
        self.facts = facts or json.loads(Path(folder, "facts.json").read_text())

    def features(self, rgb: np.ndarray) -> np.ndarray:
        """float32 [96]."""
        return self.things.run(["features"], {"rgb": to_net(whole(rgb, FEATURE_SHORT, 16))[None]})[0][0]

    def look(self, rgb: np.ndarray, raw: bool = False) -> dict:
        """uint8 [h, w, 3] → objects (name or None, score, colour or None; x, y, side in shorter sides), background.
        `raw`: every name is said, whatever its score.
        """
        facts, limits = self.facts, self.facts["thresholds"]
        height, width = rgb.shape[:2]
        short, small = min(width, height), whole(rgb, nets.SHORT, nets.UNIT)
        sx, sy = width / small.shape[1], height / small.shape[0]
        found = [
            (x * sx, y * sy, side * (sx + sy) / 2)
            for _, x, y, side in peaks(self.places.run(["places"], {"rgb": to_net(small)[None]})[0][0], limits["place"])
        ]
        objects = []
        if found:
            edges = [side * nets.CONTEXT for _, _, side in found]
            crops = np.stack(
                [
                    to_net(resample(rgb, x - e / 2, y - e / 2, e, e, nets.CROP, nets.CROP))
                    for (x, y, _), e in zip(found, edges, strict=True)
                ]
            )
            read = self.things.run(["names", "colours"], {"rgb": crops})
            for (x, y, side), names, colours in zip(found, *read, strict=True):
                names, colours = softmax(names), softmax(colours)
                best, hue = int(names[:-1].argmax()), int(colours.argmax())
                said = raw or (names[best] >= limits["name"] and names[best] > names[-1])
                objects.append(
                    {
                        "name": facts["names"][best] if said else None,
                        "score": float(names[best]),
                        "colour": facts["colours"][hue] if hue < 7 and colours[hue] >= limits["colour"] else None,
                        "x": x / short,
                        "y": y / short,
                        "side": side / short,
                    }
                )
        return {"objects": objects, "background": background(small, facts)}
