"""Notes: what is said of intervals and of the first two candidates."""

import math

import numpy as np
import pytest

from prescreen.ranking.notes import notes
from prescreen.ranking.uncertainty import Uncertainty

NAN, INF = math.nan, math.inf
ADVICE = {  # samples, seeds that are needed, seeds that there are -> what is said
    (1.0, NAN, 1): "",
    (2.5, NAN, 1): "About 250 samples of the probe would",
    (1.0001, NAN, 1): "About 101 samples of the probe would",
    (INF, NAN, 1): "No number of samples of the probe within reach would",
    (101.0, NAN, 1): "No number of samples of the probe within reach would",
    (2.0, 6.2, 3): "About 7 seeds or 200 samples of the probe would",
    (INF, 3.1, 3): "About 4 seeds would",
    (INF, 3.0, 3): "About 4 seeds would",
    (3.0, INF, 3): "About 300 samples of the probe would",
    (INF, INF, 3): "No number of seeds or samples of the probe within reach would",
    (500.0, 101.0, 3): "No number of seeds or samples of the probe within reach would",
}


def said(sure, varied=None, candidates=2, seeds=1):
    varied = {"entropy": True} if varied is None else varied
    return notes(sure, varied, candidates=candidates, seeds=seeds, samples=100)


@pytest.mark.parametrize("needed", ADVICE)
def test_what_would_tell_the_first_two_apart(needed):
    probe, seeds, there = needed
    sure = Uncertainty(np.zeros(3), np.array([False, True, False]), probe, seeds)
    first, second = said(sure, seeds=there)
    assert ("Training noise is not in it" in first) == (there == 1)
    assert second.startswith("=  not told from the first by it." + " " * bool(ADVICE[needed]))
    assert ADVICE[needed] in second
    assert (" tell the first two apart" in second) == bool(ADVICE[needed])


def test_nothing_misleading_is_said():
    sure = Uncertainty(np.zeros(2), np.array([False, False]), 1.0, NAN)
    assert len(said(sure)) == 1
    assert said(sure, {}, seeds=3) == ("±  95 % interval over 3 seeds.",)
    assert said(None, candidates=1) == said(None, candidates=0) == ()
    assert said(None, {"entropy": False}) == (
        "No intervals: some candidates were measured by an earlier version.",
    )
    assert "--seeds 3" in said(None, {})[0]
