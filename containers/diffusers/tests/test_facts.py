"""The rules that a model's facts keep."""

from __future__ import annotations

import pytest
from closed_form import FACTS

from ralu_stage.contract.facts import check_facts

SIZE_RULE = {"multiple": 16, "min_pixels": 256, "max_pixels": 16384, "max_aspect": 2.0}
PRESET = {"name": "own", "N": [2, 3, 4], "e": [0.3, 0.6, 1], "r": [0.25]}

BAD = {
    "no name": ({"id": ""}, "id"),
    "a name for a list": ({"aliases": "cf"}, "aliases"),
    "no channels": ({"channels": 0}, "channels"),
    "a channel and a half": ({"channels": 1.5}, "channels"),
    "no sizes": ({"sizes": []}, "sizes"),
    "a size between tokens": ({"sizes": [{"width": 120, "height": 64}]}, "sizes has 120x64"),
    "a size that does not fit": ({"sizes": [{"width": 256, "height": 128}]}, "sizes has 256x128, 128 tokens"),
    "tokens that fall": ({"shift": [{"tokens": 64, "shift": 1}, {"tokens": 64, "shift": 2}]}, "shift has tokens"),
    "a shift of 0": ({"shift": [{"tokens": 64, "shift": 0}]}, "shift.0.shift"),
    "guidance outside its range": ({"guidance": {"min": 1, "max": 2, "default": 3}}, "guidance"),
    "guidance of an unknown kind": ({"guidance": {"min": 1, "max": 2, "default": 1, "kind": "x"}}, "guidance.kind"),
    "no way of upsampling": ({"upsampling": []}, "upsampling"),
    "one way of upsampling twice": ({"upsampling": ["token", "token"]}, "upsampling"),
    "an unknown way of upsampling": ({"upsampling": ["pixel"]}, "upsampling.0"),
    "an unknown cache": ({"caches": ["taylor"]}, "caches.0"),
    "an empty family": ({"family": ""}, "family"),
    "a rule between tokens": ({"size_rule": SIZE_RULE | {"multiple": 8}}, "size_rule.multiple is 8"),
    "a rule without sizes": ({"size_rule": SIZE_RULE | {"min_pixels": 16385}}, "size_rule.min_pixels"),
    "a rule over the tokens": ({"size_rule": SIZE_RULE | {"max_pixels": 32768}}, "size_rule.max_pixels is 32768"),
    "a rule of aspect below 1": ({"size_rule": SIZE_RULE | {"max_aspect": 0.5}}, "size_rule.max_aspect"),
    "negative work": ({"flops": FACTS["flops"] | {"text": -1}}, "flops.text"),
    "endless work": ({"flops": FACTS["flops"] | {"text": float("inf")}}, "flops.text"),
    "no digest": ({"digest": ""}, "digest"),
    "a field nobody knows": ({"licens": "MIT"}, "licens"),
    "a script that is none": ({"scripts": ["latin"]}, "scripts.0"),
    "presets of one name": ({"presets": [PRESET, PRESET]}, "presets have the names"),
    "a preset of one stage": ({"presets": [PRESET | {"N": [2], "e": [1], "r": []}]}, "presets.0.N"),
    "a preset with too few ends": ({"presets": [PRESET | {"e": [0.3, 1]}]}, "presets.0"),
    "a preset that does not end": ({"presets": [PRESET | {"e": [0.3, 0.6, 0.9]}]}, "presets.0"),
    "a preset that goes back": ({"presets": [PRESET | {"e": [0.6, 0.3, 1]}]}, "presets.0"),
    "a preset of too many steps": ({"presets": [PRESET | {"N": [2, 3, 999]}]}, "presets.0"),
    "shares that fall": ({"presets": [PRESET | {"N": [1] * 4, "e": [0.2, 0.4, 0.6, 1], "r": [0.5, 0.2]}]}, "presets.0"),
    "an example of two lines": ({"examples": ["a\nb"]}, "examples.0"),
}


@pytest.mark.parametrize(("change", "says"), BAD.values(), ids=BAD.keys())
def test_a_broken_rule_is_named(change, says):
    with pytest.raises(ValueError, match=r"^closed-form: |^: |^None: ") as caught:
        check_facts(FACTS | change, "closed-form/1 cpu", True)
    assert says in str(caught.value)


@pytest.mark.parametrize("engine_class", ["", "a,b", "ä", "a\n", "x" * 201])
def test_an_engine_class_travels_in_a_header(engine_class):
    with pytest.raises(ValueError, match="engine_class"):
        check_facts(FACTS, engine_class, True)


def test_what_is_left_out_has_the_contracts_default():
    facts = check_facts(FACTS, "closed-form/1 cpu", True)
    assert (facts.family, facts.upsampling, facts.caches, facts.size_rule, facts.presets) == (
        None,
        ["latent", "token"],
        ["taylor_velocity"],
        None,
        [],
    )
    assert check_facts(FACTS | {"guidance": {"min": 1, "max": 2, "default": 1}}, "e", True).guidance.kind == "embedded"


def test_everything_that_may_be_stated_is_taken():
    facts = FACTS | {
        "family": "flux.2",
        "upsampling": ["token"],
        "caches": ["taylor_blocks", "taylor_velocity"],
        "size_rule": SIZE_RULE,
        "presets": [PRESET],
        "guidance": {"min": 1, "max": 10, "default": 4, "kind": "cfg"},
        "negative_prompt": True,
        "scripts": ["Latin", "Han"],
        "vocabulary": {"objects": ["apple"], "colours": [], "backgrounds": [], "counts": []},
        "emoji": {"🍎": "apple"},
        "examples": ["a red apple"],
    }
    checked = check_facts(facts, "torch/2.13.0 cuda NVIDIA-H100 bfloat16", False)
    stated = checked.model_dump(mode="json", exclude_unset=True)
    assert stated == facts | {"engine_class": "torch/2.13.0 cuda NVIDIA-H100 bfloat16", "deterministic": False}
