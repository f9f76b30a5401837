import numpy as np
import pytest

from prescreen.ranks import aggregate


def naive(scores):
    """Count, for each candidate, whom it beats (1) and ties with (½); NaN loses to all numbers."""

    def points(a, b):
        if np.isnan(a) or np.isnan(b):
            return 0.5 if np.isnan(a) and np.isnan(b) else float(np.isnan(b))
        return 1.0 if a > b else 0.5 if a == b else 0.0

    n, readouts = scores.shape
    return np.array(
        [
            sum(
                points(scores[i, r], scores[j, r])
                for j in range(n)
                if j != i
                for r in range(readouts)
            )
            / (readouts * (n - 1))
            for i in range(n)
        ]
    )


@pytest.mark.parametrize("seed", range(20))
def test_equals_pairwise_comparison(seed):
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 5, size=(rng.integers(2, 9), rng.integers(1, 4))).astype(float)
    scores[rng.random(scores.shape) < 0.2] = np.nan
    scores[rng.random(scores.shape) < 0.1] = -np.inf
    np.testing.assert_allclose(aggregate(scores), naive(scores), atol=1e-12)


def test_only_the_order_of_each_readout_counts():
    scores = np.random.default_rng(0).normal(size=(6, 3))
    np.testing.assert_array_equal(aggregate(scores), aggregate(np.exp(scores) * [1, 1e6, 1e-6]))


def test_best_and_worst_are_one_and_zero():
    assert aggregate(np.array([[3.0], [1.0], [2.0]])).tolist() == [1.0, 0.0, 0.5]
    assert aggregate(np.array([[3.0]])).tolist() == [1.0]
    assert aggregate(np.empty((0, 2))).tolist() == []


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"^`scores` must have shape .*, got \(3,\)$"):
        aggregate(np.zeros(3))
    with pytest.raises(ValueError, match=r"got \(3, 0\)"):
        aggregate(np.zeros((3, 0)))
