"""Scores of a folder of pictures that `npm run eval -- --url …` made, one table: python lab/eval/score.py FOLDER

The table, in scores.md beside results.jsonl, has a line a row: steps, work and seconds from the receipts, and the mean
of each scorer. A scorer is used where its package is installed; it fetches its own weights when it is first used. A
score is kept in scores.jsonl, so that the same command goes on where it was. GenEval's evaluator needs an environment
of its own: what it wrote into FOLDER/ROW/geneval.jsonl is read.

  scorer        package            what it says
  imagereward   image-reward       human preference of picture and prompt (arXiv 2304.05977)
  clip-iqa      torchmetrics, piq  how good a photo looks to CLIP, 0 to 1 (arXiv 2207.12396)
  clip-score    torchmetrics       likeness of picture and prompt to CLIP, 0 to 100 (arXiv 2104.08718)
  niqe          pyiqa              how far from natural pictures, less is better
"""

import argparse
import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

# a picture's file and its prompt -> its score
Scorer = Callable[[Path, str], float]


def image_reward() -> Scorer:
    model = importlib.import_module("ImageReward").load("ImageReward-v1.0")
    return lambda file, prompt: float(model.score(prompt, str(file)))


def clip_iqa() -> Scorer:
    importlib.import_module("piq")  # torchmetrics needs it for the paper's own CLIP, and says so only when it is used
    multimodal = importlib.import_module("torchmetrics.multimodal")
    metric = multimodal.CLIPImageQualityAssessment(model_name_or_path="clip_iqa", data_range=255.0)
    return lambda file, prompt: float(metric(pixels(file).float()[None]))


def clip_score() -> Scorer:
    metric = importlib.import_module("torchmetrics.multimodal").CLIPScore()
    return lambda file, prompt: float(metric(pixels(file), prompt))


def niqe() -> Scorer:
    metric = importlib.import_module("pyiqa").create_metric("niqe")
    return lambda file, prompt: float(metric(str(file)))


SCORERS: dict[str, Callable[[], Scorer]] = {
    "imagereward": image_reward,
    "clip-iqa": clip_iqa,
    "clip-score": clip_score,
    "niqe": niqe,
}
PACKAGES = {
    "imagereward": "image-reward",
    "clip-iqa": "torchmetrics[multimodal] piq",
    "clip-score": "torchmetrics[multimodal]",
    "niqe": "pyiqa",
}


def pixels(file: Path):
    """uint8 tensor [3, height, width]."""
    numpy, torch = importlib.import_module("numpy"), importlib.import_module("torch")
    picture = importlib.import_module("PIL.Image").open(file).convert("RGB")
    return torch.from_numpy(numpy.array(picture)).permute(2, 0, 1)


def read_lines(file: Path) -> list[dict]:
    """The objects of a file of JSON lines; none where it is not there. A last line that is not finished is left out."""
    if not file.exists():
        return []
    return [json.loads(line) for line in file.read_text().splitlines(keepends=True) if line.endswith("\n")]


def open_scorer(name: str, openers: dict[str, Callable[[], Scorer]]) -> tuple[Scorer | None, str]:
    """The scorer, or None and a sentence that says why there is none."""
    try:
        return openers[name](), ""
    except ModuleNotFoundError as error:
        install = f"pip install {PACKAGES[name]}" if name in PACKAGES else f"install {error.name}"
        return None, f"{name} is not scored: {error.name} is not installed ({install})."
    except Exception as error:  # whatever a package or its weights fail with, the others go on
        reason = str(error).strip().split("\n")[0][:200]
        return None, f"{name} is not scored: it does not load ({type(error).__name__}: {reason})."


def score(folder: Path, made: list[dict], name: str, scorer: Scorer) -> None:
    """Adds to scores.jsonl what this scorer says of each picture that it has not seen."""
    file = folder / "scores.jsonl"
    done = {(each["scorer"], each["file"], each["seed"]) for each in read_lines(file)}
    if file.exists() and not file.read_text().endswith("\n"):
        file.write_text("".join(json.dumps(each) + "\n" for each in read_lines(file)))
    with file.open("a") as out:
        for each in made:
            if (name, each["file"], each["seed"]) in done:
                continue
            value = scorer(folder / each["file"], each["words"])
            line = {"scorer": name, "file": each["file"], "seed": each["seed"], "score": value}
            out.write(json.dumps(line) + "\n")
            out.flush()


def geneval(folder: Path, row: str) -> dict[str, float]:
    """GenEval's share of correct pictures by task, and their mean over tasks; empty where it did not evaluate."""
    results = read_lines(folder / row / "geneval.jsonl")
    tags = list(dict.fromkeys(each["tag"] for each in results))
    shares = {tag: fmean(each["correct"] for each in results if each["tag"] == tag) for tag in tags}
    return {"overall": fmean(shares.values()), **shares} if shares else {}


def table(folder: Path, made: list[dict]) -> list[str]:
    """A line of Markdown for each row of the evaluation, the first one made first, over what all its pictures have."""
    rows = list(dict.fromkeys(each["row"] for each in made))
    scores = {
        (each["scorer"], each["file"], each["seed"]): each["score"] for each in read_lines(folder / "scores.jsonl")
    }
    names = list(dict.fromkeys(scorer for scorer, _, _ in scores))
    tasks = {row: geneval(folder, row) for row in rows}
    tags = list(dict.fromkeys(tag for each in tasks.values() for tag in each))
    head = ["row", "pictures", "steps", "TFLOPs", "less work", "denoising, s", "job, s"]
    lines = [[*head, *names, *(f"GenEval {tag}" for tag in tags)]]
    for row in rows:
        of = [each for each in made if each["row"] == row]
        steps, evaluations = fmean(each["steps"] for each in of), fmean(each["evaluations"] for each in of)
        cells = [
            row,
            str(len(of)),
            f"{steps:g}" if steps == evaluations else f"{steps:g} ({evaluations:g} evaluated)",
            f"{fmean(each['tflops']['denoise'] for each in of):.4g}",
            f"{fmean(each['tflops']['plain'] / each['tflops']['denoise'] for each in of):.2f}x",
            f"{fmean(each['seconds']['denoise'] for each in of):.3f}",
            f"{fmean(each['seconds']['job'] for each in of):.3f}",
        ]
        for name in names:
            known = [scores.get((name, each["file"], each["seed"])) for each in of]
            cells.append("–" if None in known else f"{fmean(known):.4f}")
        cells += [f"{tasks[row][tag]:.4f}" if tag in tasks[row] else "–" for tag in tags]
        lines.append(cells)
    lines.insert(1, ["---"] * len(lines[0]))
    return [f"| {' | '.join(cells)} |" for cells in lines]


def main(arguments: list[str], openers: dict[str, Callable[[], Scorer]] = SCORERS) -> int:
    parser = argparse.ArgumentParser(prog="score.py", description="One table of the pictures in a folder.")
    parser.add_argument("folder", type=Path, help="where `npm run eval -- --url …` put its pictures")
    parser.add_argument("--scorers", default=",".join(openers), help="comma-separated (all): " + ", ".join(openers))
    options = parser.parse_args(arguments)
    folder, names = options.folder, [name for name in options.scorers.split(",") if name]
    unknown = [name for name in names if name not in openers]
    if unknown:
        parser.error(f"--scorers: there is no {', '.join(unknown)}; there are {', '.join(openers)}")
    made = read_lines(folder / "results.jsonl")
    if not made:
        parser.error(f"{folder} has no results.jsonl with pictures: `npm run eval -- --url …` makes it")
    sentences = []
    for name in names:
        scorer, sentence = open_scorer(name, openers)
        if scorer is None:
            sentences.append(sentence)
        else:
            score(folder, made, name, scorer)
    if not any(geneval(folder, each["row"]) for each in made):
        sentences.append(
            "GenEval has not evaluated: its evaluate_images.py takes FOLDER/ROW and writes FOLDER/ROW/geneval.jsonl."
        )
    first = made[0]
    about = f"{first['model']} ({first['digest'][:12]}), {first['width']}x{first['height']}, {first['engine']}"
    text = "\n".join([about, "", *table(folder, made), "", *sentences]).rstrip() + "\n"
    (folder / "scores.md").write_text(text)
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
