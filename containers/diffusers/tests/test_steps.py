"""The step loop on a velocity in closed form: solvers, forecasts, reports, and how a stage ends early."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy
import pytest
import torch

from ralu_stage.contract.request import Cache
from ralu_stage.engine.pace import Pace
from ralu_stage.engine.steps import run_steps
from ralu_stage.engine.taylor import Differences
from ralu_stage.model import NotFinite, Stopped

CPU = torch.device("cpu")
SIGMAS = numpy.float32([1, 0.9, 0.7, 0.45, 0.3, 0.1, 0]).astype(float).tolist()


def velocity(x, sigma):
    return torch.tanh(x) * (0.5 + sigma) + 0.1


def start():
    return torch.linspace(-2, 2, 24).reshape(6, 4)


def run(field=velocity, sigmas=SIGMAS, x=None, on_step=lambda *_: None, should_stop=lambda: False, **options):
    with Pace(CPU, len(sigmas) - 1, on_step, should_stop) as pace:
        return run_steps(field, start() if x is None else x, sigmas, pace, **options)


def cache(**values):
    return Cache(**{"kind": "taylor_velocity", "interval": 2, "order": 1, "warmup": 2, **values})


def test_euler_follows_the_velocity():
    x = start().numpy()
    for now, after in itertools.pairwise(SIGMAS):
        v = numpy.tanh(x) * (0.5 + now) + 0.1
        clean = x - now * v
        x = (x + (after - now) * v).astype(numpy.float32)
    result = run()
    assert numpy.abs(result.latents.numpy() - x).max() <= 1e-6
    assert numpy.abs(result.clean.numpy() - clean).max() <= 1e-6
    assert result.latents.dtype == torch.float32 and result.evaluations == 6


def test_ab2_follows_the_line_through_two_velocities():
    x, before = start().numpy().astype(float), None
    for i in range(1, len(SIGMAS)):
        v = numpy.tanh(x) * (0.5 + SIGMAS[i - 1]) + 0.1
        step = SIGMAS[i] - SIGMAS[i - 1]
        rho = 0 if before is None else step / (SIGMAS[i - 1] - SIGMAS[i - 2])
        clean = x - SIGMAS[i - 1] * v
        x = x + step * (v if before is None else (1 + rho / 2) * v - rho / 2 * before)
        before = v
    result = run(solver="ab2")
    assert numpy.abs(result.latents.numpy() - x).max() <= 2e-6
    assert numpy.abs(result.clean.numpy() - clean).max() <= 2e-6


def test_ab2_is_exact_for_a_velocity_linear_in_sigma_after_its_first_step():
    exact = run(lambda x, s: torch.full_like(x, 2 * s), sigmas=[1, 0.8, 0.5, 0.1], solver="ab2")
    # the integral of 2 s from 0.8 to 0.1, after Euler's 2 (0.8 - 1)
    want = start() + 2 * (0.8 - 1) + (0.1**2 - 0.8**2)
    assert (exact.latents - want).abs().max() <= 1e-6


def test_two_calls_end_to_end_are_one():
    first = run(sigmas=SIGMAS[:4])
    assert torch.equal(run(sigmas=SIGMAS[3:], x=first.latents).latents, run().latents)


@pytest.mark.parametrize(
    ("warmup", "interval", "evaluated"),
    [(1, 2, [1, 3, 5]), (2, 2, [1, 2, 4, 6]), (2, 3, [1, 2, 5]), (9, 2, [*range(1, 7)])],
)
def test_a_cache_evaluates_the_first_steps_and_then_every_interval_th(warmup, interval, evaluated):
    seen = []

    def counted(x, sigma):
        seen.append(SIGMAS.index(sigma) + 1)
        return velocity(x, sigma)

    result = run(counted, cache=cache(warmup=warmup, interval=interval))
    assert seen == evaluated and result.evaluations == len(evaluated)


@pytest.mark.parametrize("order", [1, 2, 4])
def test_what_is_linear_in_the_step_is_forecast_exactly(order):
    differences = Differences(order)
    for step in (1, 2, 5):
        differences.add(step, torch.tensor(3.0 - 2.0 * step))
    assert differences.at(9).item() == pytest.approx(3 - 2 * 9)


def test_differences_are_those_of_the_contract():
    values = {1: torch.tensor(5.0), 2: torch.tensor(7.0), 4: torch.tensor(20.0)}
    differences = Differences(2)
    for step, value in values.items():
        differences.add(step, value)
    first = (20 - 7) / 2
    second = (first - (7 - 5) / 1) / 2
    assert differences.at(5).item() == pytest.approx(20 + first + second / 2)
    assert differences.at(7).item() == pytest.approx(20 + 3 * first + 9 * second / 2)


def test_order_goes_up_to_as_many_evaluations_as_there_were():
    differences = Differences(4)
    differences.add(3, torch.tensor(2.0))
    assert differences.at(9).item() == 2.0 and len(differences.values) == 1


def test_each_step_is_reported_in_order_with_its_noise_level_and_time():
    reports = []
    run(on_step=lambda *report: reports.append(report), cache=cache())
    assert [step for step, *_ in reports] == [1, 2, 3, 4, 5, 6]
    assert [sigma for _, sigma, *_ in reports] == SIGMAS[:-1]
    assert all(ms >= 0 for _, _, ms, _ in reports)


@pytest.mark.parametrize("solver", ["euler", "ab2"])
def test_each_step_can_be_looked_at_then_and_later_and_the_last_is_what_was_made(solver):
    looks, then = [], []

    def on_step(step, sigma, ms, look):
        looks.append(look)
        then.append(look().clone())

    result = run(on_step=on_step, solver=solver)
    assert all(torch.equal(look(), seen) for look, seen in zip(looks, then, strict=True))
    assert torch.equal(then[-1], result.latents) == (SIGMAS[-1] == 0)
    if solver == "euler":
        assert torch.allclose(then[-1], result.clean, atol=1e-6)


def test_a_stage_stops_at_the_next_step_boundary():
    reports = []

    def on_step(step, *_):
        reports.append(step)

    with pytest.raises(Stopped):
        run(on_step=on_step, should_stop=lambda: len(reports) == 2)
    assert reports == [1, 2]


def test_a_stage_that_is_stopped_before_it_begins_computes_nothing():
    def broken(x, sigma):
        raise AssertionError("a step ran")

    with pytest.raises(Stopped):
        run(broken, should_stop=lambda: True)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_latents_that_are_not_finite_end_the_stage_there(bad):
    seen, reports = [], []

    def breaks(x, sigma):
        seen.append(sigma)
        return velocity(x, sigma) * (bad if len(seen) == 3 else 1)

    with pytest.raises(NotFinite):
        run(breaks, on_step=lambda step, *_: reports.append(step))
    assert reports == [1, 2] and len(seen) == 3


def test_latents_that_are_not_finite_after_the_last_step_are_seen_too():
    with pytest.raises(NotFinite):
        run(lambda x, s: x * float("nan"), sigmas=[1, 0.5])


def test_what_a_report_throws_ends_the_stage():
    def on_step(step, *_):
        if step == 2:
            raise RuntimeError("nobody listens")

    with pytest.raises(RuntimeError, match="nobody listens"):
        run(on_step=on_step)


def test_what_the_model_throws_ends_the_stage_after_the_steps_before_were_reported():
    reports = []

    def breaks(x, sigma):
        if sigma < 0.5:
            raise MemoryError
        return velocity(x, sigma)

    with pytest.raises(MemoryError):
        run(breaks, on_step=lambda step, *_: reports.append(step))
    assert reports == [1, 2, 3]


def test_a_cache_of_blocks_needs_blocks():
    blocks = SimpleNamespace(kind="taylor_blocks", order=1)
    with pytest.raises(ValueError, match="the model's blocks cannot be forecast"):
        run(cache=blocks)
