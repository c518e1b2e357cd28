"""The time plan holds whatever a phase takes."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

import time_plan
from time_plan import TimePlan


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 1000.0
        monkeypatch.setattr(time_plan.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


BOOKINGS = {"load": 30.0, "decoder": 45.0, "transformer": None, "close": 15.0}


def test_a_phase_has_what_is_booked_and_one_has_what_is_left(clock: Clock):
    plan = TimePlan(300, BOOKINGS, began=990)
    load = plan.begin("load")
    assert (load.left, load.progress) == (30, 0)
    clock.now += 15
    assert (load.left, load.progress) == (15, 0.5)
    clock.now += 10
    decoder = plan.begin("decoder")
    assert decoder.left == 45
    clock.now += 45
    assert (decoder.left, decoder.progress) == (0, 1)
    # 300 of which 10 went before the first phase, 25 and 45 are spent, 15 are booked
    assert plan.begin("transformer").left == 300 - 10 - 25 - 45 - 15


def test_a_phase_that_takes_too_long_takes_from_what_is_left_and_never_from_a_booking(clock: Clock):
    plan = TimePlan(300, BOOKINGS, began=1000)
    plan.begin("load")
    clock.now += 200
    assert plan.begin("decoder").left == 45
    clock.now += 45
    assert plan.begin("transformer").left == 40
    clock.now += 40
    assert plan.begin("close").left == 15


def test_where_nothing_is_left_a_phase_is_over_when_it_begins(clock: Clock):
    plan = TimePlan(300, BOOKINGS, began=1000)
    plan.begin("load")
    clock.now += 400
    phase = plan.begin("transformer")
    assert (phase.left, phase.progress) == (0, 1)


def test_phases_may_be_left_out_but_come_in_order(clock: Clock):
    plan = TimePlan(300, BOOKINGS, began=1000)
    assert plan.begin("transformer").left == 285
    with pytest.raises(ValueError, match="phase 'load' cannot follow 'transformer'"):
        plan.begin("load")
    with pytest.raises(ValueError, match="phase 'transformer' cannot follow 'transformer'"):
        plan.begin("transformer")
    with pytest.raises(ValueError, match="phase 'lunch': the plan has load, decoder, transformer, close"):
        plan.begin("lunch")


def test_bookings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="90 s are booked of 60 s"):
        TimePlan(60, BOOKINGS)
    with pytest.raises(ValueError, match="at most one phase"):
        TimePlan(60, {"a": None, "b": None})


def test_the_table_accounts_for_every_second(clock: Clock):
    plan = TimePlan(300, BOOKINGS, began=990)
    plan.begin("load")
    clock.now += 20
    plan.begin("transformer")
    clock.now += 100
    plan.begin("close")
    clock.now += 5
    plan.close()
    rows = {row["phase"]: row["taken"] for row in plan.table()}
    assert rows == {"start": 10, "load": 20, "decoder": 0, "transformer": 100, "close": 5, "all": 135}


def test_the_clock_begins_with_the_process():
    script = "import time; time.sleep(1); import time_plan; print(time.monotonic() - time_plan.process_start())"
    before = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=Path(time_plan.__file__).parent, capture_output=True, text=True, check=True
    )
    assert 1 <= float(run.stdout) <= time.monotonic() - before + 0.02


@pytest.mark.parametrize("wrong", [-1e9, 1e9])
def test_a_start_that_cannot_be_is_not_believed(monkeypatch: pytest.MonkeyPatch, wrong: float):
    monkeypatch.setattr(time_plan.time, "clock_gettime", lambda _: wrong)
    now = time.monotonic()
    assert now <= time_plan.process_start() <= now + 5
