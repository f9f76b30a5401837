"""How sure an order is: coverage of intervals, ties, and what tells the first two apart."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from prescreen.ranking.uncertainty import uncertainty
from prescreen.ranks import aggregate

PARTS = 8


def simulated(generator, truth, *, samples=64, noise=0.0, seeds=1, training=0.0):
    """Values, and values without each part, of candidates that see the same samples.

    Args:
        truth: (M, R); noise: the standard error of a value; training: that between seeds.
    """
    candidates, readouts = truth.shape
    common = generator.standard_normal((1, samples, readouts))
    own = generator.standard_normal((candidates, samples, readouts))
    probe = noise * np.sqrt(samples) * (0.6 * common + 0.8 * own)
    drift = training * generator.standard_normal((seeds, candidates, 1, readouts))
    seen = truth[:, None] + probe + drift
    parts = np.arange(samples) % PARTS
    without = [seen[:, :, parts != part].mean(2) for part in range(PARTS)]
    return seen.mean(2), np.stack(without, -1)


def alone(values):
    """Every candidate has noise of its own."""
    candidates, readouts = values.shape[1:]
    return np.repeat(np.arange(candidates)[:, None], readouts, 1)


def sure(values, replicates, score=aggregate):
    return uncertainty(score, values, replicates, alone(values))


def mean_score(values):
    return np.mean([aggregate(one) for one in values], axis=0)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("prescreen.ranking.uncertainty.DRAWS", 100)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("candidates", "noise", "seeds", "training"),
    [(5, 0.3, 1, 0.0), (12, 0.1, 1, 0.0), (5, 0.1, 3, 0.3)],
)
def test_intervals_cover_the_true_scores(candidates, noise, seeds, training):
    """Of Gaussian panels with a known order, 90 to 99 of 100 intervals at 95 % do."""
    generator = np.random.default_rng(1)
    covered, wrong = [], 0
    for _ in range(100):
        truth = generator.standard_normal((candidates, 1))
        truth = truth + 0.3 * generator.standard_normal((candidates, 3))
        values, replicates = simulated(
            generator, truth, noise=noise, seeds=seeds, training=training
        )
        found, scores, true = sure(values, replicates), mean_score(values), aggregate(truth)
        covered += [*(np.abs(scores - true) <= found.half + 1e-9)]
        first = scores.argmax()
        wrong += bool((~found.tied & (true > true[first] + 1e-9)).any())
    assert 0.90 <= np.mean(covered) <= 0.99
    assert wrong <= 5  # a better candidate that is said to be worse


def test_without_noise_nothing_is_unsure():
    truth = np.random.default_rng(0).standard_normal((6, 2))
    found = sure(*simulated(np.random.default_rng(0), truth))
    assert found.half.tolist() == [0.0] * 6
    assert not found.tied.any()
    assert (found.probe, math.isnan(found.seeds)) == (1.0, True)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("candidates", [2, 5, 40])
def test_equal_candidates_and_copies_of_the_first_are_tied(candidates, seeds):
    generator = np.random.default_rng(0)
    values, replicates = simulated(
        generator, np.zeros((candidates, 3)), noise=0.1, seeds=seeds, training=0.1
    )
    assert sure(values, replicates).tied.mean() >= 0.5
    copied = [np.concatenate([one, one], axis=1) for one in (values, replicates)]
    found, first = sure(*copied), mean_score(copied[0]).argmax()
    assert found.tied[first + candidates]
    assert not found.tied[first]
    assert found.probe == math.inf
    assert (found.half[:candidates] == found.half[candidates:]).all() or seeds > 1


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("seeds", [1, 3])
def test_the_order_of_candidates_changes_nothing(seeds):
    generator = np.random.default_rng(6)
    truth = generator.standard_normal((9, 1)) + 0.3 * generator.standard_normal((9, 3))
    values, replicates = simulated(generator, truth, noise=0.3, seeds=seeds, training=0.2)
    found = sure(values, replicates)
    assert len({*np.sort(mean_score(values))[-3:]}) == 3  # equal scores keep the given order
    for _ in range(3):
        order = generator.permutation(9)
        again = sure(values[:, order], replicates[:, order])
        assert again.half == pytest.approx(found.half[order], abs=1e-12)
        assert (again.tied == found.tied[order]).all()
        assert (again.probe, again.seeds) == pytest.approx((found.probe, found.seeds), nan_ok=True)


@pytest.mark.usefixtures("quick")
def test_more_seeds_and_more_samples_shrink_the_interval():
    generator = np.random.default_rng(3)
    truth = generator.standard_normal((10, 3))
    widths = {}
    for seeds, samples in ((2, 64), (8, 64), (1, 64), (1, 1024)):
        noise = 2 / math.sqrt(samples)
        drift = 0.3 if seeds > 1 else 0.0
        made = [
            simulated(generator, truth, samples=samples, noise=noise, seeds=seeds, training=drift)
            for _ in range(3)
        ]
        widths[seeds, samples] = np.mean([sure(*one).half.mean() for one in made])
    assert widths[8, 64] < widths[2, 64]
    assert widths[1, 1024] < 0.6 * widths[1, 64]


@pytest.mark.parametrize("distance", [0.5, 1.0, 1.5, 3.0])
def test_of_two_candidates_it_is_the_test_of_a_difference(distance):
    """One readout and two candidates: Student's paired t test, and its sample size."""
    generator = np.random.default_rng(0)
    values, replicates = simulated(generator, np.zeros((2, 1)), noise=1.0)
    apart = (replicates[0, 0] - replicates[0, 1])[0]
    error = math.sqrt((PARTS - 1) / PARTS * ((apart - apart.mean()) ** 2).sum())
    values[0, 0] += distance * error - (values[0, 0] - values[0, 1])
    found = sure(values, replicates)
    widened = 2.3646 / norm.ppf(0.975)  # Student's quantile with seven degrees of freedom
    assert found.tied.tolist() == [False, distance < 2.3646]
    if distance < 2.3646:
        assert found.probe == pytest.approx((norm.ppf(0.975) * widened / distance) ** 2, rel=0.4)


def test_seeds_that_would_tell_the_first_two_apart():
    """Between candidates at a known distance, from the noise of one seed."""
    generator = np.random.default_rng(5)
    values = np.array([[[0.0], [1.0], [9.0], [-9.0]]] * 4) + generator.normal(0, 1.5, (4, 4, 1))
    values[:, 2] -= 16  # the first two are those at 0 and 1
    unknown = np.full((*values.shape, PARTS), np.nan)
    found = sure(values, unknown)
    assert found.tied.tolist().count(True) >= 1
    assert found.probe == math.inf  # no number of samples
    assert found.seeds > 4


def test_values_that_are_not_finite_stay_where_they_are():
    values = np.array([[[1.0, 2.0], [math.nan, 1.0], [0.5, -math.inf], [0.2, 0.3]]] * 2)
    replicates = np.repeat(values[..., None], PARTS, -1)
    found = sure(values, replicates)
    assert np.isfinite(found.half).all()
    with pytest.raises(ValueError, match=r"^`values` must be of at least 2 candidates, got 1$"):
        sure(values[:, :1], replicates[:, :1])


def test_noise_of_one_architecture_is_shared():
    """Untrained measures tie within an architecture, however unsure they are."""
    values = np.array([[[1.0], [1.0], [0.0]], [[1.2], [1.2], [0.1]]])
    unknown = np.full((*values.shape, PARTS), np.nan)
    found = uncertainty(aggregate, values, unknown, np.array([[0], [0], [2]]))
    assert found.tied.tolist() == [False, True, False]
    assert found.half[0] == found.half[1]
