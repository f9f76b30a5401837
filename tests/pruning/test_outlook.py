"""The regression against its textbook form, with matrices and numerical integration."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm, rankdata, t

from prescreen.pruning.ends import Ends
from prescreen.pruning.outlook import (
    SLOPE,
    SLOPE_TRIALS,
    VARIANCE,
    VARIANCE_TRIALS,
    outlook,
)


def textbook(x, y, at):
    """Predictive distribution at new points: a flat intercept, a conjugate slope and variance."""
    design = np.stack([np.ones(len(x)), x], axis=1)
    prior = np.diag([1e-12, SLOPE_TRIALS])
    start = np.array([0.0, SLOPE])
    precision = design.T @ design + prior
    mean = np.linalg.solve(precision, design.T @ y + prior @ start)
    freedom = VARIANCE_TRIALS + len(x) - 1
    squares = VARIANCE_TRIALS * VARIANCE + y @ y + start @ prior @ start - mean @ precision @ mean
    new = np.stack([np.ones(len(at)), at], axis=1)
    spread = 1 + np.einsum("ij,jk,ik->i", new, np.linalg.inv(precision), new)
    return t(freedom, new @ mean, np.sqrt(squares / freedom * spread)), mean[1]


def some_trials(seed, count, completed):
    rng = np.random.default_rng(seed)
    trials, scores = rng.permutation(np.arange(count) * 3), rng.integers(0, 9, count) / 8
    chosen = rng.choice(trials, completed, replace=False)
    return trials, scores, {int(one): (float(rng.normal()),) for one in chosen}


@pytest.mark.parametrize(("seed", "completed"), [(0, 1), (1, 2), (2, 5), (3, 20)])
def test_chances_and_gain_are_those_of_the_textbook(seed, completed):
    trials, scores, objectives = some_trials(seed, 30, completed)
    ends = Ends.of(objectives)
    seen = outlook(trials, scores, ends)
    readings = norm.ppf((rankdata(scores) - 0.5) / 30)[np.argsort(trials)]
    np.testing.assert_allclose(seen.readings, readings)
    assert seen.trials.tolist() == sorted(trials)
    known = [seen.at(trial) for trial in sorted(objectives)]
    predicted, slope = textbook(readings[known], ends.scores, readings)
    assert seen.slope == pytest.approx(slope)
    np.testing.assert_allclose(seen.chances, predicted.sf(ends.bar), rtol=1e-6)

    def excess(index):
        one = t(
            predicted.kwds.get("df", predicted.args[0]),
            predicted.args[1][index],
            predicted.args[2][index],
        )
        return quad(lambda end: (end - ends.bar) * one.pdf(end), ends.bar, math.inf)[0]

    gain = ends.unit * sum(map(excess, range(30))) / seen.chances.sum()
    assert seen.gain == pytest.approx(gain, rel=1e-4)


def test_the_order_of_trials_does_not_matter_and_others_end_unknown():
    trials, scores, objectives = some_trials(4, 30, 12)
    one = outlook(trials, scores, Ends.of(objectives))
    other = outlook(trials[::-1], scores[::-1], Ends.of(dict(reversed(objectives.items()))))
    assert (one.chances == other.chances).all()
    elsewhere = Ends.of({1000: (1.0,)})
    assert outlook(trials, scores, elsewhere) is None


def test_chances_follow_readings_and_evidence_turns_the_prior():
    trials = np.arange(40)
    rising = {n: (float(n),) for n in range(30)}
    seen = outlook(trials, trials / 39, Ends.of(rising))
    assert (np.diff(seen.chances) > 0).all()
    assert 0.5 < seen.slope < 1.3
    falling = {n: (-float(n),) for n in range(30)}
    assert outlook(trials, trials / 39, Ends.of(falling)).slope < 0
    few = {n: (-float(n),) for n in (0, 1)}
    assert outlook(trials, trials / 39, Ends.of(few)).slope > 0


def test_ties_of_all_tell_none_apart():
    seen = outlook(np.arange(9), np.full(9, 0.5), Ends.of({n: (float(n),) for n in range(5)}))
    assert len(set(seen.chances)) == 1
    assert seen.slope == SLOPE
