"""The evaluation's prompts. Needs the emoji: npm ci --prefix lab"""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

import make_prompts
import scenes


@pytest.fixture(scope="module", params=list(make_prompts.SETS))
def file(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def entries(file: str) -> list[dict]:
    return make_prompts.SETS[file]()


def test_the_generator_writes_the_file_that_is_there(file: str, entries: list[dict]):
    assert entries == json.loads(Path(make_prompts.HERE, file).read_text())


def test_six_tasks_have_as_many_prompts_each_with_an_id_and_a_seed_of_its_own(entries: list[dict]):
    assert Counter(entry["task"] for entry in entries) == dict.fromkeys(
        ["single", "two", "counting", "background", "position", "attribution"], make_prompts.EACH
    )
    assert len({entry["id"] for entry in entries}) == len(entries)
    assert len({entry["seed"] for entry in entries}) == len(entries)
    assert len({entry["prompt"] for entry in entries}) == len(entries)


def test_prompts_ask_for_what_training_never_shows(entries: list[dict]):
    for entry in entries:
        names, expect = entry["names"], entry["expect"]
        asked = {
            "two": [("pair", *sorted(names))],
            "position": [("pair", *sorted(names))],
            "counting": [("count", names[0], each["count"]) for each in expect["objects"] if "count" in each],
            "background": [("background", names[0], colour) for colour in expect.get("background", [])],
            "attribution": [("colour", each["name"], each["colour"]) for each in expect["objects"] if "colour" in each],
        }.get(entry["task"])
        if asked is not None:
            assert any(scenes.is_held(*each) for each in asked), entry


def test_a_scene_of_a_prompt_shows_what_it_asks_for(entries: list[dict]):
    rng = random.Random(3)
    for entry in entries:
        scene, expect = make_prompts.scene_of(entry, rng), entry["expect"]
        counts = Counter(thing.name for thing in scene.things)
        assert set(counts) == set(entry["names"])
        for each in expect["objects"]:
            assert counts[each["name"]] == each.get("count", 1)
            if "colour" in each:
                assert (each["name"], each["colour"]) in {(thing.name, thing.colour) for thing in scene.things}
        assert scene.background == expect.get("background", ["white"])
        if "relation" in expect:
            first, second = scene.things
            assert first.x < second.x if expect["relation"] == "left" else first.y < second.y


def test_set_b_has_no_prompt_seed_pair_of_objects_or_pair_of_coloured_objects_of_set_a():
    first, fresh = make_prompts.entries(), make_prompts.fresh_entries()
    for of in (
        lambda each: each["id"],
        lambda each: each["prompt"],
        lambda each: each["seed"],
        lambda each: frozenset(each["names"]) if each["task"] in ("two", "position") else each["id"],
        lambda each: frozenset(make_prompts.coloured(each)) if each["task"] == "attribution" else each["id"],
    ):
        assert not {of(each) for each in first} & {of(each) for each in fresh}


def test_set_b_asks_for_what_set_a_does_only_where_nothing_else_is_held_out():
    first, fresh = make_prompts.entries(), make_prompts.fresh_entries()

    def names(entries: list[dict], task: str, background: list[str] | None = None) -> list[str]:
        return [
            entry["names"][0]
            for entry in entries
            if entry["task"] == task and entry["expect"].get("background") == background
        ]

    assert set(make_prompts.visible()) <= {*names(first, "single"), *names(fresh, "single")}
    for colour in scenes.BACKGROUNDS:
        left = set(make_prompts.held_on(colour)) - set(names(first, "background", [colour]))
        used = names(fresh, "background", [colour])
        assert len(left & set(used)) == min(len(left), len(used)), colour
