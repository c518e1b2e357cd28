"""The table of a folder of pictures: receipts and scores on their way into it, packages that are missing."""

import json
from pathlib import Path

import pytest
from PIL import Image

import score


def made(row: str, prompt: int, grey: int, **more) -> dict:
    file = f"{row}/{prompt:05}/samples/00000.png"
    return {
        **{"row": row, "prompt": prompt, "nth": 0, "seed": 7 + prompt, "words": f"a thing {prompt}", "file": file},
        **{"model": "m", "digest": "d" * 64, "engine": "e", "width": 8, "height": 8, "grey": grey},
        **{"steps": 10, "evaluations": 10, "tflops": {"denoise": 2.0, "total": 3.0, "plain": 14.0}},
        **{"seconds": {"denoise": 0.5, "text": 0, "decode": 0, "encode": 0, "job": 1.0}, **more},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    all_made = [made("plain", 0, 10), made("7x", 0, 100), made("plain", 1, 20), made("7x", 1, 200)]
    all_made[1] |= {"evaluations": 8}
    all_made[3] |= {"evaluations": 8}
    for each in all_made:
        file = tmp_path / each["file"]
        file.parent.mkdir(parents=True)
        Image.new("L", (8, 8), each.pop("grey")).save(file)
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(each) + "\n" for each in all_made))
    return tmp_path


class Brightness:
    """A scorer whose every answer is known: the first pixel, and how often it was asked."""

    def __init__(self):
        self.asked = 0

    def __call__(self, file: Path, prompt: str) -> float:
        self.asked += 1
        assert prompt.startswith("a thing")
        return float(Image.open(file).getpixel((0, 0)))


def test_rows_have_their_receipts_and_the_mean_of_each_scorer_in_the_order_they_were_made(folder, capsys):
    bright = Brightness()
    assert score.main([str(folder)], {"bright": lambda: bright}) == 0
    text = (folder / "scores.md").read_text()
    assert text == capsys.readouterr().out
    assert text.split("\n")[0] == "m (dddddddddddd), 8x8, e"
    assert text.split("\n")[2:6] == [
        "| row | pictures | steps | TFLOPs | less work | denoising, s | job, s | bright |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        "| plain | 2 | 10 | 2 | 7.00x | 0.500 | 1.000 | 15.0000 |",
        "| 7x | 2 | 10 (8 evaluated) | 2 | 7.00x | 0.500 | 1.000 | 150.0000 |",
    ]


def test_what_is_scored_is_not_scored_again_and_a_line_that_was_cut_is(folder):
    bright = Brightness()
    score.main([str(folder)], {"bright": lambda: bright})
    scores = folder / "scores.jsonl"
    scores.write_text(scores.read_text()[:-5])
    score.main([str(folder)], {"bright": lambda: bright})
    assert bright.asked == 5
    assert len(score.read_lines(scores)) == 4
    assert "150.0000" in (folder / "scores.md").read_text()


def test_a_row_that_is_not_scored_whole_has_no_mean(folder):
    score.main([str(folder)], {"bright": Brightness})
    lines = (folder / "results.jsonl").read_text() + json.dumps(made("7x", 2, 0)) + "\n"
    (folder / "results.jsonl").write_text(lines)
    table = score.table(folder, score.read_lines(folder / "results.jsonl"))
    assert [line.split(" | ")[-1] for line in table[2:]] == ["15.0000 |", "– |"]


def test_a_package_that_is_missing_or_does_not_load_is_a_sentence_and_the_others_go_on(folder):
    def missing():
        return __import__("no_such_package")

    def broken():
        raise OSError("no weights\nof the model")

    openers = {"missing": missing, "broken": broken, "bright": Brightness}
    assert score.main([str(folder)], openers) == 0
    text = (folder / "scores.md").read_text()
    assert "missing is not scored: no_such_package is not installed (install no_such_package)." in text
    assert "broken is not scored: it does not load (OSError: no weights)." in text
    assert "| bright |" in text


def test_every_scorer_names_the_packages_to_install():
    assert score.PACKAGES.keys() == score.SCORERS.keys()


def test_geneval_is_the_mean_over_tasks_where_its_evaluator_wrote(folder):
    results = [("two_object", True), ("two_object", False), ("two_object", False), ("counting", True)]
    lines = [json.dumps({"tag": tag, "correct": correct, "filename": "f"}) for tag, correct in results]
    (folder / "7x/geneval.jsonl").write_text("\n".join(lines) + "\n")
    score.main([str(folder)], {})
    lines = (folder / "scores.md").read_text().split("\n")
    assert lines[2].endswith("| GenEval overall | GenEval two_object | GenEval counting |")
    assert lines[4].endswith("| – | – | – |")
    assert lines[5].endswith("| 0.6667 | 0.3333 | 1.0000 |")
    assert "GenEval has not evaluated" not in "\n".join(lines)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["--scorers", "beauty"], "--scorers: there is no beauty; there are imagereward"),
        ([], "has no results.jsonl with pictures"),
    ],
)
def test_what_makes_no_sense_is_one_sentence(tmp_path, capsys, arguments, rule):
    with pytest.raises(SystemExit) as end:
        score.main([str(tmp_path), *arguments])
    assert end.value.code == 2
    assert rule in capsys.readouterr().err
