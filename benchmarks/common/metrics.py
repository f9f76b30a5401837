"""How well scores order architectures whose true accuracy is known, each with a bootstrap interval."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy.stats import hypergeom, kendalltau, rankdata

from prescreen.ranks import Floats

Metric = Callable[[Floats, Floats], float]


def spearman(scores: Floats, truth: Floats) -> float:
    """Rank correlation; NaN scores rank below all others."""
    return float(correlation(scores, truth))


def correlation(scores: Floats, truth: Floats) -> Floats:
    """Spearman's ρ along the last axis, NaN where all are equal; NaN scores rank below others."""
    a, b = rankdata(_lowest_if_missing(scores), axis=-1), rankdata(truth, axis=-1)
    a, b = a - a.mean(-1, keepdims=True), b - b.mean(-1, keepdims=True)
    scale = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
    return (a * b).sum(-1) / np.where(scale > 0, scale, math.nan)


def kendall(scores: Floats, truth: Floats) -> float:
    """Kendall's τ_b; NaN scores rank below all others."""
    return float(kendalltau(_lowest_if_missing(scores), truth).statistic)


def spearman_top(scores: Floats, truth: Floats, share: float = 0.2) -> float:
    """Rank correlation within the truly best share."""
    top = truth >= np.quantile(truth, 1 - share)
    return spearman(scores[top], truth[top])


def ndcg(scores: Floats, truth: Floats) -> float:
    """Discounted cumulative gain of the whole order over that of the best order.

    Gains are 2^rel − 1 with rel the truth scaled to [0, 1], as in VKDNW (CVPR 2025).
    """
    relevance = (truth - truth.min()) / (truth.max() - truth.min())
    gains = 2**relevance - 1
    discounts = 1 / np.log2(np.arange(len(truth)) + 2)
    order = np.argsort(-_lowest_if_missing(scores), kind="stable")
    return float(gains[order] @ discounts / (np.sort(gains)[::-1] @ discounts))


def regret(scores: Floats, truth: Floats, share: float) -> float:
    """Truth of the best candidate of all, less that of the best in the top share by score."""
    count = max(1, round(share * len(scores)))
    chosen = np.argsort(-_lowest_if_missing(scores), kind="stable")[:count]
    return float(truth.max() - truth[chosen].max())


def best_among_first(scores: Floats, truth: Floats, count: int, drawn: int) -> float:
    """How often the truly best of some random candidates is among the first ones by score.

    Exact, over all draws: the i-th candidate is the best of a draw if the others are of those with a
    lower truth, and how many of them have a higher score is hypergeometric. Candidates of equal score
    or truth count in the given order. NaN if there are fewer than are drawn.

    Args:
        scores: (n,), NaN last.
        truth: (n,).
        count: how many of the first ones by score.
        drawn: candidates in a draw, without replacement.
    """
    if len(truth) < drawn:
        return math.nan
    by_score = np.argsort(-_lowest_if_missing(scores), kind="stable")
    place, total = np.argsort(by_score), 0.0
    by_truth = np.argsort(-truth, kind="stable")
    for rank, best in enumerate(by_truth[: len(truth) - drawn + 1]):
        lower = by_truth[rank + 1 :]
        above = int((place[lower] < place[best]).sum())
        share = math.comb(len(lower), drawn - 1) / math.comb(len(truth), drawn)
        total += share * float(hypergeom.cdf(count - 1, len(lower), above, drawn - 1))
    return total


METRICS: dict[str, Metric] = {
    "ρ": spearman,
    "τ": kendall,
    "nDCG": ndcg,
    "ρ top 20 %": spearman_top,
    "regret 1 %": lambda s, t: regret(s, t, 0.01),
    "regret 5 %": lambda s, t: regret(s, t, 0.05),
    "regret 10 %": lambda s, t: regret(s, t, 0.10),
}


def bootstrap(
    metric: Metric, scores: Floats, truth: Floats, rounds: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """The central 95 % of a metric over resampled candidates; of a difference, if scores are 2-D.

    Samples for which the metric is undefined do not count; NaN if none is left.

    Args:
        metric: of scores (n,) and truth (n,).
        scores: (n,), or (2, n) for the metric of the first less that of the second, on the same
            resampled candidates.
        truth: (n,).
        rounds: how many samples with replacement.
        seed: of the samples.
    """
    rows = np.random.default_rng(seed).integers(len(truth), size=(rounds, len(truth)))
    first, *second = (
        correlation(one[rows], truth[rows])
        if metric is spearman
        else np.array([metric(one[sample], truth[sample]) for sample in rows])
        for one in np.atleast_2d(scores)
    )
    values = first - second[0] if second else first
    finite = values[~np.isnan(values)]
    low, high = np.quantile(finite, [0.025, 0.975]) if len(finite) else (math.nan, math.nan)
    return float(low), float(high)


def with_interval(metric: Metric, scores: Floats, truth: Floats) -> str:
    """A metric and its bootstrap interval, such as ``0.81 [0.75, 0.86]``."""
    value = metric(scores, truth)
    if math.isnan(value):
        return "-"
    low, high = bootstrap(metric, scores, truth)
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _lowest_if_missing(scores: Floats) -> Floats:
    return np.where(np.isnan(scores), -np.inf, scores)
