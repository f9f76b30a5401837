"""A candidate that is not finished in time is interrupted, also in this process."""

import signal
import threading
import time
from dataclasses import replace

import pytest
from torch import nn
from toy import TRAINING, make_task, mlp

from prescreen.failures import CandidateFailed
from prescreen.ranking.run import rank
from prescreen.screening import Plan, Screening
from prescreen.spaces.candidate import Candidate

LATE = "not finished after 0.2 s"


def sleeps():
    time.sleep(10_000)


def loops():
    while True:
        pass


def carries_on():
    try:
        time.sleep(10_000)
    except Exception:
        time.sleep(10_000)


class Sleeps(nn.Module):
    def forward(self, x):
        if self.training:
            time.sleep(10_000)
        return x


def trains():
    return nn.Sequential(Sleeps(), mlp(2))


def changes_the_timer():
    signal.setitimer(signal.ITIMER_REAL, 0)
    return nn.Sequential(Slow(), mlp(2))


class Slow(nn.Module):
    def forward(self, x):
        time.sleep(0.3)
        return x


@pytest.mark.parametrize("build", [sleeps, loops, carries_on, trains, changes_the_timer])
def test_late_candidates_are_rows_and_others_go_on(build):
    before = signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)
    (row,) = rank({"late": build}, make_task(), training=TRAINING, timeout=0.2)
    assert (row.status, row.reason) == ("timeout", LATE)
    assert (signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)) == before


def test_a_limit_that_is_kept_changes_nothing():
    plain = Plan(make_task(), TRAINING)
    candidate = Candidate("a", {}, lambda: mlp(8))
    readings = [
        [replace(reading, seconds=0.0) for reading in Screening(candidate, plan)]
        for plan in (plain, replace(plain, timeout=600.0, memory=64.0))
    ]
    assert readings[0] == readings[1]


def test_outside_of_the_main_thread_steps_are_counted():
    caught = []

    def screened():
        candidate = Candidate("a", {}, lambda: nn.Sequential(Slow(), mlp(2)))
        try:
            list(Screening(candidate, Plan(make_task(), TRAINING, timeout=0.2)))
        except CandidateFailed as failure:
            caught.append(str(failure))

    thread = threading.Thread(target=screened)
    thread.start()
    thread.join()
    assert caught == [f"timeout: {LATE}"]


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), float("inf")])
def test_limits_are_checked(timeout):
    with pytest.raises(ValueError, match="`timeout` must be above 0, or None, got "):
        rank({"a": sleeps}, make_task(), timeout=timeout)
