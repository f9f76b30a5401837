"""The time budget of a run: what has begun is kept, the rest is said, and the same call goes on."""

import time
from dataclasses import dataclass

import pytest
from toy import GOOD, TRAINING, make_task, without_seconds

from prescreen.failures import CandidateFailed
from prescreen.ranking.budget import TimeBudget
from prescreen.ranking.events import FINISHED, STARTED
from prescreen.ranking.executors import Here, Processes
from prescreen.ranking.run import rank


class Clock:
    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


def seen(budget, clock, script):
    """What a budget lets through of (time, index, event)."""

    def happening():
        for now, index, event in script:
            clock.now = now
            yield index, event

    return [*budget.within(happening())]


FAILED = CandidateFailed("build", "no such layer")


@pytest.mark.parametrize(
    ("seconds", "kept"),
    [
        # One after the other, 10 seconds each.
        (None, 4),
        (100, 4),
        (40.5, 4),
        (40, 3),
        (29, 2),
        (20.5, 2),
        (20, 1),
        (0.001, 1),
    ],
)
@pytest.mark.parametrize("end", [FINISHED, FAILED])
def test_none_is_begun_that_would_end_after_it(clock, seconds, kept, end):
    script = [step for i in range(4) for step in [(10 * i, i, STARTED), (10 * i + 10, i, end)]]
    budget = TimeBudget(seconds)
    found = seen(budget, clock, script)
    assert found == [event[1:] for event in script[: 2 * kept]]
    assert budget.is_over == (kept < 4)


def test_the_longest_so_far_counts_and_what_runs_beside_is_kept(clock):
    script = [
        (0, 0, STARTED),
        (0, 1, STARTED),
        (2, 0, FINISHED),
        (2, 2, STARTED),  # 2 seconds are left of 8
        (6, 2, FINISHED),
        (6, 3, STARTED),  # 4 seconds would end at 10
        (7, 3, FINISHED),  # not begun: nobody hears of it
        (7, 4, STARTED),
        (7, 1, STARTED),  # its worker was lost: it has begun already
        (30, 1, FINISHED),
        (30, 5, STARTED),
    ]
    budget = TimeBudget(8)
    kept = [script[i][1:] for i in (0, 1, 2, 3, 4, 8, 9)]
    assert seen(budget, clock, script) == kept
    assert budget.is_over


def test_a_failure_without_a_beginning_is_heard_of(clock):
    """As of a worker that could not start again."""
    assert seen(TimeBudget(5), clock, [(0, 0, FAILED)]) == [(0, FAILED)]


@dataclass(frozen=True)
class Slow:
    """An executor in whose time each candidate takes ten seconds."""

    clock: Clock
    inner: object

    def measure(self, candidates, plan, threads):
        for index, event in self.inner.measure(candidates, plan, threads):
            self.clock.now += 10 * (event == FINISHED)
            yield index, event


def ranked(clock, out, inner=None, **changes):
    on = Slow(clock, inner or Here())
    return rank(GOOD, make_task(), training=TRAINING, on=on, out=out, **changes)


@pytest.mark.parametrize("inner", [Here(), pytest.param(Processes(1), marks=pytest.mark.slow)])
def test_what_is_left_is_said_and_the_same_call_goes_on(monkeypatch, tmp_path, inner):
    whole = rank(GOOD, make_task(), training=TRAINING)
    with monkeypatch.context() as patched:
        clock = Clock(patched)
        first = ranked(clock, tmp_path, inner, time_budget=15)
    assert len(first) == 1
    assert first.notes[-1] == (
        "2 of 3 candidates are left, as the time budget is over: small, large. The same command goes "
        "on with them."
    )
    again = rank(GOOD, make_task(), training=TRAINING, out=tmp_path)
    assert without_seconds(again) == without_seconds(whole)
    assert again.notes == whole.notes


def test_seeds_that_not_all_have_are_not_compared(clock, tmp_path):
    ranking = ranked(clock, tmp_path, seeds=2, time_budget=45)
    assert (len(ranking), ranking.seeds) == (3, 1)
    assert ranking.notes[-1].startswith(
        "2 of 6 trainings are left, as the time budget is over: small"
    )
    assert ranked(clock, tmp_path, seeds=2).seeds == 2


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_budget_is_above_zero(seconds):
    with pytest.raises(ValueError, match=r"^`time_budget` must be above 0, or None, got "):
        rank(GOOD, make_task(), time_budget=seconds)
