"""The regression against its textbook form, with matrices and numerical integration."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm, rankdata, t

from prescreen.comparison import FAIR
from prescreen.pruning.ends import Ends
from prescreen.pruning.outlook import (
    SLOPE,
    SLOPE_TRIALS,
    VARIANCE,
    VARIANCE_TRIALS,
    outlook,
)


def textbook(x, y, at, sources):
    """Predictive distribution at new points: a flat intercept, conjugate slopes and variance."""
    number = x.shape[1]
    design = np.hstack([np.ones((len(x), 1)), x])
    prior = np.diag([1e-12, *[SLOPE_TRIALS] * number])
    # The slope at which all sources are together worth SLOPE.
    agreeing = FAIR + (1 - FAIR) * np.eye(sources)
    start = np.array([0.0, *[SLOPE / agreeing.sum() ** 0.5] * number])
    precision = design.T @ design + prior
    mean = np.linalg.solve(precision, design.T @ y + prior @ start)
    freedom = VARIANCE_TRIALS + len(x) - 1
    squares = VARIANCE_TRIALS * VARIANCE + y @ y + start @ prior @ start - mean @ precision @ mean
    new = np.hstack([np.ones((len(at), 1)), at])
    spread = 1 + np.einsum("ij,jk,ik->i", new, np.linalg.inv(precision), new)
    return t(freedom, new @ mean, np.sqrt(squares / freedom * spread)), mean[1:]


def some_trials(seed, count, completed, names="a"):
    rng = np.random.default_rng(seed)
    trials = rng.permutation(np.arange(count) * 3)
    sources = {name: rng.integers(0, 9, count) / 8 for name in names}
    chosen = rng.choice(count, completed, replace=False)
    ends = 3 * sources["a"] + rng.normal(size=count)
    return trials, sources, {int(trials[one]): (float(ends[one]),) for one in chosen}


@pytest.mark.parametrize("names", ["a", "ab", "abc"])
@pytest.mark.parametrize(("seed", "completed"), [(0, 1), (1, 2), (2, 5), (3, 20), (5, 28)])
def test_chances_and_gain_are_those_of_the_textbook(seed, completed, names):
    trials, sources, objectives = some_trials(seed, 30, completed, names)
    ends = Ends.of(objectives)
    seen = outlook(trials, sources, ends)
    order = np.argsort(trials)
    readings = {n: norm.ppf((rankdata(one) - 0.5) / 30)[order] for n, one in sources.items()}
    for name in names:
        np.testing.assert_allclose(seen.readings[name], readings[name])
    assert seen.trials.tolist() == sorted(trials)
    known = [seen.at(trial) for trial in sorted(objectives)]
    used = [name for name in names if seen.slopes[name]]
    every = np.stack([readings[name] for name in used], axis=1)
    predicted, slopes = textbook(every[known], ends.scores, every, len(names))
    assert [seen.slopes[name] for name in used] == pytest.approx(slopes)
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
    trials, sources, objectives = some_trials(4, 30, 12, "ab")
    one = outlook(trials, sources, Ends.of(objectives))
    turned = {name: values[::-1] for name, values in sources.items()}
    other = outlook(trials[::-1], turned, Ends.of(dict(reversed(objectives.items()))))
    assert (one.chances == other.chances).all()
    elsewhere = Ends.of({1000: (1.0,)})
    assert outlook(trials, sources, elsewhere) is None


def test_chances_follow_readings_and_evidence_turns_the_prior():
    trials = np.arange(40)
    one = {"a": trials / 39}
    seen = outlook(trials, one, Ends.of({n: (float(n),) for n in range(30)}))
    assert (np.diff(seen.chances) > 0).all()
    assert 0.5 < seen.slopes["a"] < 1.3
    falling = {n: (-float(n),) for n in range(30)}
    seen = outlook(trials, one, Ends.of(falling))
    assert seen.contradicted
    assert len(set(seen.chances)) == 1
    assert not outlook(trials, one, Ends.of(dict([*falling.items()][:2]))).contradicted


def test_the_source_that_completed_trials_bear_out_decides():
    trials = np.arange(40)
    wrong = np.random.default_rng(0).permutation(40) / 39
    ends = Ends.of({n: (float(n),) for n in range(30)})
    seen = outlook(trials, {"wrong": wrong, "right": trials / 39}, ends)
    assert seen.slopes["wrong"] < 0.2 < 0.6 < seen.slopes["right"]
    seen = outlook(trials, {"against": -trials / 39, "right": trials / 39}, ends)
    alone = outlook(trials, {"right": trials / 39}, ends)
    assert seen.slopes["against"] == 0
    assert (np.argsort(seen.chances) == np.argsort(alone.chances)).all()


def test_a_source_that_adds_nothing_counts_once():
    trials, sources, objectives = some_trials(6, 30, 12)
    ends = Ends.of(objectives)
    alone = outlook(trials, sources, ends)
    more = {**sources, "same": 3 * sources["a"] - 1, "flat": np.zeros(30)}
    seen = outlook(trials, more, ends)
    assert list(seen.slopes) == ["a"]
    assert (seen.chances == alone.chances).all()


def test_ties_of_all_tell_none_apart():
    ends = Ends.of({n: (float(n),) for n in range(5)})
    seen = outlook(np.arange(9), {"a": np.full(9, 0.5)}, ends)
    assert len(set(seen.chances)) == 1
    assert seen.slopes["a"] == SLOPE
