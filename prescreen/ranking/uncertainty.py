"""Uncertainty: how scores would vary with other probe samples and with other seeds of the training."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prescreen.ranks import Floats

Score = Callable[[Floats], Floats]

LEVEL = 0.95
DRAWS = 1000
_TAIL = (1 - LEVEL) / 2
_Z = NormalDist().inv_cdf(1 - _TAIL)


@dataclass(frozen=True)
class Uncertainty:
    """What is known about the scores of M candidates.

    Args:
        half: half widths of the scores' 95 % intervals, shape (M,).
        tied: which candidates cannot be told from the first at the 95 % level, each compared alone;
            shape (M,). The first itself is not tied.
        probe: by how many times more probe samples would tell the first two apart; 1 if they are, ∞ if
            no number would.
        seeds: how many seeds would, with this probe; ∞ if no number would, NaN if only one was used.
        ahead: share of draws in which each candidate is ahead of the one above it, of which ties count
            half; NaN for the first, shape (M,).
    """

    half: Floats
    tied: NDArray[np.bool_]
    probe: float
    seeds: float
    ahead: Floats = field(default_factory=lambda: np.zeros(0))


def uncertainty(
    score: Score, values: Floats, replicates: Floats, shared: NDArray[np.integer[Any]]
) -> Uncertainty:
    """Vary the values as other samples and other seeds would, and score them again.

    Values are moved by normal noise with the covariance of the delete-a-group jackknife. The noise of a
    part of the probe is the same for all candidates, as they see the same samples: comparisons are
    paired. With several seeds noise is added that has the covariance of the values between seeds, pooled
    over candidates, and is independent for each of them. Both are widened as Student's t demands.

    Args:
        score: from values (M, R) to scores (M,), higher is better.
        values: shape (S, M, R), of S seeds, M candidates and R readouts, higher is better.
        replicates: the values without each of G parts of the probe, shape (S, M, R, G). NaN where they
            are unknown, which counts as no noise.
        shared: for every value the candidate whose noise of training it has, shape (M, R): measures of
            the untrained network are one value for all candidates of one architecture.

    Raises:
        ValueError: there are fewer than two candidates.

    Reference: Kott 2001, The delete-a-group jackknife.
    """
    seeds, candidates = values.shape[:2]
    if candidates < 2:
        raise ValueError(f"`values` must be of at least 2 candidates, got {candidates}")
    scores = _mean_score(score, values)
    noise = _Noise(values, replicates, shared)
    drawn = np.stack([_mean_score(score, moved) for moved in noise.moved(seeds > 1)])
    best_first = np.argsort(-scores, kind="stable")
    first, second = best_first[:2]
    behind = (drawn >= drawn[:, [first]]).mean(axis=0)
    tied = behind > _TAIL
    tied[first] = False
    # The distance from the score, not from the mean of the draws: noise pulls ranks to the middle.
    half = np.quantile(np.abs(drawn - scores), LEVEL, axis=0)
    ahead = _ahead(drawn, best_first)
    if not tied[second]:
        return Uncertainty(half, tied, 1.0, seeds if seeds > 1 else math.nan, ahead)
    both = _squared_error(behind[second])
    probe = both
    if seeds > 1:
        drawn = np.stack([_mean_score(score, moved) for moved in noise.moved(False)])
        probe = _squared_error((drawn[:, second] >= drawn[:, first]).mean())
    return Uncertainty(half, tied, *_needed(both, probe, seeds), ahead)


def _ahead(drawn: Floats, best_first: NDArray[np.integer[Any]]) -> Floats:
    found = np.full(len(best_first), math.nan)
    for above, below in pairwise(
        best_first.tolist()
    ):  # all at once would take three times the memory
        first, second = drawn[:, above], drawn[:, below]
        found[below] = (second > first).mean() + (second == first).mean() / 2
    return found


def _needed(both: float, probe: float, seeds: int) -> tuple[float, float]:
    """By how many times more samples, and how many seeds, would separate.

    Args:
        both: squared standard error of a difference, relative to the squared difference.
        probe: the part of it that is the probe's.
        seeds: how many were used.
    """
    if math.isinf(both) or math.isinf(probe):
        return math.inf, math.nan if seeds == 1 else math.inf
    allowed = _Z**-2
    training = max(both - probe, 0.0)
    left = allowed - training
    samples = probe / left if left > 0 else math.inf
    if seeds == 1:
        return samples, math.nan
    left = allowed - probe
    return samples, (training * seeds / left if left > 0 else math.inf)


def _squared_error(share: float) -> float:
    """That of a difference, relative to it, from the share of draws in which its sign is another."""
    if share >= 0.5:
        return math.inf
    return NormalDist().inv_cdf(1 - max(share, 1 / DRAWS)) ** -2


def _mean_score(score: Score, values: Floats) -> Floats:
    mean: Floats = np.mean([score(one) for one in values], axis=0)
    return mean


class _Noise:
    """Values moved at random, the same for the same values in any order of the candidates."""

    def __init__(
        self, values: Floats, replicates: Floats, shared: NDArray[np.integer[Any]]
    ) -> None:
        self._values, self._shared = values, shared
        parts = replicates.shape[-1]
        with np.errstate(invalid="ignore"):  # of infinite values
            distances = replicates - replicates.mean(axis=-1, keepdims=True)
            known = np.isfinite(distances).all(axis=-1) & np.isfinite(values)
        self._probe = np.where(known[..., None], distances, 0.0)
        self._probe *= math.sqrt((parts - 1) / parts) * _t(parts - 1)
        # Most measures do not vary with the probe.
        self._varied = np.flatnonzero(self._probe.any(axis=(0, 1, 3)))
        self._probe = np.ascontiguousarray(self._probe[:, :, self._varied])
        self._training = _factor(values)
        # Noise goes with the values, not with the places, of candidates.
        flat = values.transpose(1, 0, 2).reshape(values.shape[1], -1)
        self._place = np.argsort(np.lexsort(flat.T), kind="stable")

    def moved(self, training: bool) -> Any:
        """DRAWS times the values with noise of the probe and, if asked for, of the training."""
        generator = np.random.default_rng(0)
        for _ in range(DRAWS):
            # Not a matrix product, which may round equal candidates differently.
            weights = generator.standard_normal(self._probe.shape[-1])
            values = self._values.copy()
            values[:, :, self._varied] += (self._probe * weights).sum(axis=-1)
            if training:
                drawn = generator.standard_normal(values.shape) @ self._training
                own = drawn[:, self._place]
                values = values + np.take_along_axis(own, self._shared[None], axis=1)
            yield values


def _factor(values: Floats) -> Floats:
    """A factor of the covariance of readouts between seeds, pooled over candidates; shape (R, R)."""
    seeds, candidates, readouts = values.shape
    freedom = (seeds - 1) * (candidates - 1)
    if not freedom:
        return np.zeros((readouts, readouts))
    finite = np.isfinite(values).all(axis=0)
    plain = np.where(finite, values, 0.0)
    rest = plain - plain.mean(axis=0)
    # What a seed does to all candidates alike changes no order.
    rest = np.where(
        finite, rest - rest.sum(axis=1, keepdims=True) / finite.sum(axis=0).clip(1), 0.0
    )
    covariance = np.einsum("smr,smq->rq", rest, rest) / freedom
    variances, directions = np.linalg.eigh(covariance)
    factor: Floats = (directions * np.sqrt(variances.clip(0.0))).T * _t(freedom)
    return factor


def _t(freedom: int) -> float:
    """How much wider than the normal an interval must be if its variance was estimated."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 1 - _TAIL)) / _Z
