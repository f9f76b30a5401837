"""Scores of a panel that judges itself: against pair by pair counting, and its invariances."""

import math

import numpy as np
import pytest

from prescreen.comparison import compare, weights
from prescreen.ranks import aggregate

FLAGS = (False, True, True)


def likeness(a, b):
    """By counting pairs of kinds: both shared, out of both or neither shared."""
    ours, theirs = set(a.split()[1:]), set(b.split()[1:])
    if not (ours and theirs):
        return 1.0
    shared = [kind in ours & theirs for kind in ours | theirs]
    pairs = [(one, other) for one in shared for other in shared if one == other]
    return pairs.count((True, True)) / len(pairs)


def beats(a, b):
    """1 for a win, ½ for a tie; NaN loses to all numbers."""
    if math.isnan(a) or math.isnan(b):
        return 0.5 if math.isnan(a) and math.isnan(b) else float(math.isnan(b))
    return 1.0 if a > b else 0.5 if a == b else 0.0


def pair_by_pair(values, flags, architectures, trust):
    """The score of each candidate, from the definition."""
    n = len(values)
    trained = [k for k, flag in enumerate(flags) if not flag]
    untrained = [k for k, flag in enumerate(flags) if flag]
    scores = np.zeros(n)
    for i in range(n):
        for j in range(n):
            if i == j:
                continue
            alike = likeness(architectures[i], architectures[j])
            head = 1 - alike * (1 - trust)
            by_head = np.mean([beats(values[i, k], values[j, k]) for k in trained])
            by_network = np.mean([beats(values[i, k], values[j, k]) for k in untrained])
            scores[i] += (head * by_head + alike * by_network) / (head + alike)
    return scores / (n - 1)


def draw(seed, n=9):
    """Values with ties, of networks of two or three kinds."""
    rng = np.random.default_rng(seed)
    kinds = ["Conv2d Linear", "Conv2d LayerNorm Linear", "Attention Linear"]
    architectures = [f"{i} {kinds[rng.integers(3)]}" for i in range(n)]
    return rng.integers(0, 6, (n, 3)).astype(float), architectures


@pytest.mark.parametrize("seed", range(20))
def test_weights_are_means_over_pairs(seed):
    values, architectures = draw(seed)
    if seed % 3 == 0:
        values[:, 2] = 1.0  # tells nothing apart: it has no weight
    trust = compare(values, FLAGS, architectures).trust
    untrained = [1, 2] if seed % 3 else [1]
    n = len(values)
    expected = np.zeros(values.shape)
    for i in range(n):
        for j in range(n):
            if i != j:
                alike = likeness(architectures[i], architectures[j])
                head = 1 - alike * (1 - trust)
                expected[i, 0] += head / (head + alike) / (n - 1)
                expected[i, untrained] += alike / (head + alike) / (n - 1) / len(untrained)
    assert weights(values, FLAGS, architectures) == pytest.approx(expected)
    assert weights(values[:, :1]) == pytest.approx(np.ones((n, 1)))
    assert weights(values) == pytest.approx(np.full((n, 3), 1 / 3))


@pytest.mark.parametrize("seed", range(20))
def test_scores_equal_pairwise_counting(seed):
    values, architectures = draw(seed)
    values[np.random.default_rng(seed).random(values.shape) < 0.1] = np.nan
    found = compare(values, FLAGS, architectures)
    expected = pair_by_pair(values, FLAGS, architectures, found.trust)
    np.testing.assert_allclose(found.scores, expected, atol=1e-12)
    alike = [likeness(a, b) for a in architectures for b in architectures if a is not b]
    assert found.likeness == pytest.approx(np.mean(alike))


@pytest.mark.parametrize("flags", [(), (False,) * 3, (True,) * 3])
def test_one_source_of_evidence_is_a_mean_of_ranks(flags):
    values, architectures = draw(0)
    found = compare(values, flags, architectures)
    np.testing.assert_array_equal(found.scores, aggregate(values))
    assert (found.likeness, found.trust) == (1.0, 1.0)


def test_measures_that_tell_nobody_apart_leave_the_order_to_the_head():
    values, architectures = draw(1)
    values[:, 1:] = 3.0
    np.testing.assert_array_equal(compare(values, FLAGS, architectures).scores, aggregate(values))


def test_candidates_may_come_in_any_order():
    values, architectures = draw(2)
    turned = np.random.default_rng(2).permutation(len(values))
    whole = compare(values, FLAGS, architectures)
    other = compare(values[turned], FLAGS, [architectures[i] for i in turned])
    np.testing.assert_allclose(other.scores, whole.scores[turned], atol=1e-12)
    assert other.trust == pytest.approx(whole.trust)


def test_only_the_order_of_each_measure_counts():
    values, architectures = draw(3)
    found = compare(np.exp(values) * [1, 1e6, 1e-6], FLAGS, architectures)
    np.testing.assert_array_equal(found.scores, compare(values, FLAGS, architectures).scores)


def line(n, *signs):
    """Measures that put n candidates into one order or its reverse."""
    return np.outer(np.arange(n), signs).astype(float)


@pytest.mark.parametrize("n", [5, 12, 50, 500])
def test_among_like_networks_a_head_that_contradicts_loses_its_weight(n):
    alike = [f"{i} Conv2d Linear" for i in range(n)]
    agrees, contradicts = line(n, 1, 1, 1), line(n, -1, 1, 1)
    assert compare(agrees, FLAGS, alike).trust > 0.99
    against = compare(contradicts, FLAGS, alike)
    assert against.trust < 0.01
    assert against.scores.argmax() == n - 1


@pytest.mark.parametrize("n", [5, 12, 50])
def test_among_unlike_networks_the_head_decides(n):
    unlike = [f"{i} Kind{i}" for i in range(n)]
    found = compare(line(n, -1, 1, 1), FLAGS, unlike)
    assert found.likeness == 0.0
    np.testing.assert_allclose(found.scores, np.arange(n)[::-1] / (n - 1))


def test_untrained_measures_order_within_a_family_only():
    """Two families, each in its own order by untrained measures; the head tells them apart."""
    architectures = [f"{i} Conv2d" for i in range(4)] + [f"{i} Attention" for i in range(4, 8)]
    head = np.repeat([1.0, 0.0], 4)
    network = np.array([0.0, 1, 2, 3, 10, 11, 12, 13])
    scores = compare(np.stack([head, network], axis=1), (False, True), architectures).scores
    assert scores.argsort().tolist() == [4, 5, 6, 7, 0, 1, 2, 3]


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_few_candidates(n):
    values = line(n, 1, 1, 1)
    found = compare(values, FLAGS, ["a Linear"] * n)
    assert len(found.scores) == n
    assert np.isfinite(found.scores).all()
    if n > 1:
        assert found.scores.argmax() == n - 1


def test_trials_of_one_architecture_are_one_network_in_the_evidence():
    """Copies do not make the evidence against the head stronger."""
    values = np.stack([[3.0, 0, 4, 1, 2], np.arange(5.0), np.arange(5.0)], axis=1)
    alike = [f"{i} Conv2d Linear" for i in range(5)]
    thrice, names = np.repeat(values, 3, axis=0), np.repeat(alike, 3).tolist()
    once = compare(values, FLAGS, alike).trust
    assert compare(thrice, FLAGS, names).trust == pytest.approx(once)
    assert compare(thrice, FLAGS).trust < once - 0.1  # as fifteen networks they would


def test_unknown_networks_are_like_all_others():
    values, _ = draw(6)
    empty = compare(values, FLAGS)
    assert empty.likeness == 1.0
    np.testing.assert_array_equal(empty.scores, compare(values, FLAGS, [""] * len(values)).scores)


@pytest.mark.parametrize("shape", [(3,), (3, 0)])
def test_shapes_are_checked(shape):
    with pytest.raises(ValueError, match="`scores` must have shape"):
        compare(np.zeros(shape))
