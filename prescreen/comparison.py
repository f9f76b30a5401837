"""Comparison: scores of candidates among each other, from a panel that judges itself.

A panel has two sources of evidence: the trained head, which says how far brief training has come, and
measures of the untrained network, such as its size. Within one family of networks both say something
about quality. Neither always does, and no label tells when. Two rules decide, for every pair:

*Likeness.* Sizes of a ResNet and a Transformer cannot be compared. Measures of untrained networks
count by the likeness of the two networks: of two kinds of modules, each drawn from those of either
network, the chance that both are in both networks, given that both or neither are.

*Trust.* Among like networks, larger ones with better features learn more in each step (Kaplan et al.
2020, arXiv 2001.08361, for size). Where the trained head says the opposite, training has not come far
enough: its order only says who learns fast. The head counts by the correlation of its order with that
of the untrained networks, and in full from ½ on.

Both sources have equal weight where networks are alike and agree. No constant is fitted to a space; the
two forms were chosen on tuning candidates of several (docs/evidence.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from prescreen.ranks import Floats, Integers, aggregate, ranks, require_table

# The correlation of two fair measures of one quality, of ρ ≈ .7 each. It is also what is believed before
# there are candidates, and weighs as much as the three that Fisher's transformation takes away.
FAIR, _PRIOR_SIZE = 0.5, 3

_WORTH_SAYING = 0.95
# Means of wins, one a seed.
_REMEMBERED = 8


@dataclass(frozen=True)
class Comparison:
    """Scores and how they came about.

    Args:
        scores: mean share of pairs won, from 0 to 1, shape (candidates,).
        likeness: mean over pairs, from 0 (nothing in common) to 1; 1 if the panel has no untrained
            measure that tells candidates apart.
        trust: how far the trained head counts among like networks, from 0 to 1.
    """

    scores: Floats
    likeness: float = 1.0
    trust: float = 1.0

    @classmethod
    def mean(cls, all_of: Sequence[Comparison]) -> Comparison:
        """The mean of several comparisons of the same candidates."""
        parts = ([getattr(one, name) for one in all_of] for name in ("likeness", "trust"))
        likeness, trust = (float(np.mean(part)) for part in parts)
        return cls(np.mean([one.scores for one in all_of], axis=0), likeness, trust)

    @property
    def notes(self) -> tuple[str, ...]:
        """What lowers the weight of a source of evidence, a line for each."""
        lines = []
        if self.likeness < _WORTH_SAYING:
            lines.append(
                f"Untrained measures have {self.likeness:.2f} of their weight: candidates differ in the "
                "kinds of their modules"
            )
        if self.trust < _WORTH_SAYING:
            lines.append(
                f"The trained head has {self.trust:.2f} of its weight among like networks: its order "
                "hardly goes with that of untrained measures"
            )
        return tuple(lines)


def kinds_of(architecture: str) -> frozenset[str]:
    """The kinds of modules that a description of an architecture names after its digest."""
    return frozenset(architecture.split()[1:])


def compare(
    values: Floats, of_network: Sequence[bool] = (), architectures: Sequence[str] = ()
) -> Comparison:
    """Score candidates by their values.

    Args:
        values: oriented so that higher is better, shape (candidates, readouts). NaN ranks below
            everything else.
        of_network: for each readout, whether it is a measure of the untrained network; empty if none is.
        architectures: of the candidates, as ``structure`` describes them; empty if unknown. Networks
            whose modules are unknown are like all others.

    Raises:
        ValueError: ``values`` does not have two dimensions and at least one readout.
    """
    require_table(values)
    found = _evidence(values, of_network, architectures)
    if found is None:
        return Comparison(aggregate(values))
    head, alike = found.head, found.alike
    won = (head * found.by_head + alike * found.by_network) / (head + alike)
    return Comparison(won.sum(axis=1) / (len(values) - 1), found.family.mean, found.trust)


def weights(
    values: Floats, of_network: Sequence[bool] = (), architectures: Sequence[str] = ()
) -> Floats:
    """How much each readout counts in each candidate's score, shape (candidates, readouts).

    A row sums to 1. It is the mean over the candidate's pairs, with the arguments of ``compare``.
    """
    count, number = values.shape
    found = _evidence(values, of_network, architectures)
    if found is None:
        return np.full((count, number), 1 / number)
    others = np.tile(np.bincount(found.family.of), (count, 1))  # (candidates, families)
    others[np.arange(count), found.family.of] -= 1
    by_head = (found.head / (found.head + found.alike) * others).sum(axis=1) / (count - 1)
    counted = np.zeros((count, number))
    counted[:, found.trained] = by_head[:, None] / len(found.trained)
    counted[:, found.untrained] = (1 - by_head)[:, None] / len(found.untrained)
    return counted


@dataclass(frozen=True)
class _Evidence:
    """Both sources of evidence.

    Args:
        family: the candidates' families.
        trained: which readouts are of the trained head.
        untrained: which are measures of the untrained network, and tell candidates apart.
        by_head, by_network: how many members of each family every candidate beats by either source,
            shape (candidates, families).
        head, alike: weights of the sources in these pairs.
        trust: how far the trained head counts among like networks.
    """

    family: _Families
    trained: list[int]
    untrained: list[int]
    by_head: Floats
    by_network: Floats
    head: Floats
    alike: Floats
    trust: float


def _evidence(
    values: Floats, of_network: Sequence[bool], architectures: Sequence[str]
) -> _Evidence | None:
    """The evidence of a panel; None if it has one source only, and all readouts count alike."""
    columns = [_ranks(column.tobytes()) for column in values.T.astype(float)]
    flags = tuple(of_network) or (False,) * len(columns)
    told_apart = [column.min() < column.max() for column in columns] if len(values) else []
    trained = [at for at, flag in enumerate(flags) if not flag]
    untrained = [at for at, tells in enumerate(told_apart) if tells and flags[at]]
    if not untrained or not trained or len(values) < 2:
        return None
    family = _families(tuple(architectures) or ("",) * len(values))
    by_head = np.mean([family.wins(columns[at]) for at in trained], axis=0)
    by_network = family.wins_by_all([columns[at] for at in untrained])
    alike = family.likeness[family.of]  # (candidates, families)
    trust = _trust(
        (alike * by_head).sum(axis=1), (alike * by_network).sum(axis=1), family.network, family.mean
    )
    head = 1 - alike * (1 - trust)
    return _Evidence(family, trained, untrained, by_head, by_network, head, alike, trust)


@lru_cache(maxsize=32)
def _ranks(column: bytes) -> Floats:
    """Ranks of a column; intervals ask for those of measures that do not vary again and again."""
    return ranks(np.frombuffer(column))


class _Families:
    """Candidates by the kinds of their modules.

    Attributes:
        of: the family of each candidate.
        network: the number of its architecture; unknown ones differ.
        likeness: of two families, shape (families, families).
        mean: likeness of two different candidates.
    """

    def __init__(self, architectures: Sequence[str]) -> None:
        kinds = [kinds_of(architecture) for architecture in architectures]
        distinct = [*dict.fromkeys(kinds)]
        number = {one: index for index, one in enumerate(distinct)}
        self.of = np.array([number[one] for one in kinds])
        names = [one or str(index) for index, one in enumerate(architectures)]
        self.network = np.unique(names, return_inverse=True)[1]
        self.likeness = np.array([[_likeness(a, b) for b in distinct] for a in distinct])
        n, sizes = len(kinds), np.bincount(self.of)
        self.mean = float((sizes @ self.likeness @ sizes - n) / (n * (n - 1)))
        self._known: dict[bytes, Floats] = {}

    def wins_by_all(self, columns: Sequence[Floats]) -> Floats:
        """The mean of ``wins`` over columns of measures that seldom vary: the latest are remembered."""
        key = b"".join(column.tobytes() for column in columns)
        if key not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[key] = np.mean([self.wins(column) for column in columns], axis=0)
        return self._known[key]

    def wins(self, column: Floats) -> Floats:
        """How many members of each family every candidate beats, shape (candidates, families).

        A tie counts half. Candidates are not compared with themselves.

        Args:
            column: ranks, which come in halves.
        """
        found = np.empty((len(column), len(self.likeness)))
        doubled = np.rint(2 * column).astype(np.intp)
        for index in range(len(self.likeness)):
            # How many members have a lower rank than each that there may be: counting is quicker than
            # to search, and exact.
            counts = np.bincount(doubled[self.of == index], minlength=2 * len(column) + 1)
            below = np.concatenate([[0], counts.cumsum()])
            found[:, index] = (below[doubled] + below[doubled + 1]) / 2
        found[np.arange(len(column)), self.of] -= 0.5
        return found


def _likeness(a: frozenset[str], b: frozenset[str]) -> float:
    if not (a and b):
        return 1.0
    shared = len(a & b) / len(a | b)  # the Jaccard index
    return shared**2 / (shared**2 + (1 - shared) ** 2)


# Intervals score the same candidates again and again.
_families = lru_cache(maxsize=2)(_Families)


def _trust(by_head: Floats, by_network: Floats, network: Integers, alike: float) -> float:
    """The correlation of two orders of like networks over that of fair measures, from 0 to 1.

    It is the mean of Fisher's z and a weak prior, weighted by their inverse variances. Networks of one
    architecture are one.
    """
    size = np.bincount(network)
    pair = np.stack([np.bincount(network, one) / size for one in (by_head, by_network)])
    spread = pair.std(axis=1)
    seen, r = max(0.0, len(pair[0]) * alike - 3), 0.0
    if spread.all():
        r = float(((pair - pair.mean(axis=1, keepdims=True)) / spread[:, None]).prod(axis=0).mean())
    elif seen:  # one of them ties all: there is nothing to contradict
        return 1.0
    bound = 1 - 1e-9
    z = seen * math.atanh(min(max(r, -bound), bound)) + _PRIOR_SIZE * math.atanh(FAIR)
    return min(max(math.tanh(z / (seen + _PRIOR_SIZE)) / FAIR, 0.0), 1.0)
