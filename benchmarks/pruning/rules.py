"""Signals and pruning rules of the replay, each for all searches at once.

A signal is kept as wins: the number of its columns in which one cell beats another at a step, with a
tie as half a win. Summed over the cells of a set they equal the counts of ``Column.score``, and order
the set as ``aggregate`` does. Sums over a set are one matrix product for a thousand searches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from prescreen.ranks import Floats, aggregate

Integers = NDArray[np.integer[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Searches:
    """S searches, each over `size` of the C cells, in its own order."""

    order: Integers  # the cells of every search as they come, shape (S, size)
    cells: int  # C

    @classmethod
    def draw(cls, count: int, size: int, cells: int, seed: int) -> Searches:
        """Draw the cells of every search without replacement."""
        every = np.tile(np.arange(cells), (count, 1))
        return cls(np.random.default_rng(seed).permuted(every, axis=1)[:, :size], cells)

    @property
    def size(self) -> int:
        """Candidates in a search."""
        return self.order.shape[1]

    @property
    def members(self) -> Mask:
        """Which cells are in which search, shape (S, C)."""
        chosen = np.zeros((len(self.order), self.cells), dtype=bool)
        np.put_along_axis(chosen, self.order, True, axis=1)
        return chosen

    def best(self, scores: Floats, among: Mask, count: int) -> Mask:
        """The `count` best of each search by scores (S, C) in steps of ½; of ties the first."""
        place = np.zeros(scores.shape)
        np.put_along_axis(place, self.order, np.arange(self.size) / (4 * self.size), axis=1)
        keys = np.where(among, scores - place, -np.inf)
        top = np.argpartition(-keys, count - 1, axis=1)[:, :count]
        chosen = np.zeros(scores.shape, dtype=bool)
        np.put_along_axis(chosen, top, True, axis=1)
        return chosen & among


class Signal(Protocol):
    """What a rule looks at."""

    first: int  # index of the first step at which it is known
    width: Floats  # columns that are compared, for every step, shape (steps,) or (1,)

    def scores(self, step: int, among: Mask) -> Floats:
        """Wins of every cell over those of a set of each search, shape (S, C)."""

    def against(self, one: Integers) -> Floats:
        """Wins of one cell of each search over each cell, shape (S, steps or 1, C)."""


class Columns:
    """A signal of recorded values (columns, C, steps), oriented so that higher is better.

    NaN is a cell that failed, and loses to every number; a column that is NaN for all cells at a step is
    not compared there.
    """

    def __init__(self, values: Floats) -> None:
        known = ~np.isnan(values).all(axis=1)
        self.width = known.sum(axis=0).astype(float)
        self.first = int(np.flatnonzero(self.width)[0])
        _, cells, steps = values.shape
        self.wins = np.zeros((cells, steps, cells), dtype=np.float32)  # halves: sums are exact
        for column, step in np.argwhere(known):
            rank = aggregate(values[column, :, step, None])
            self.wins[:, step] += (rank[:, None] > rank) + (rank[:, None] == rank) / 2

    def scores(self, step: int, among: Mask) -> Floats:
        """See ``Signal``."""
        return (among.astype(np.float32) @ self.wins[:, step].T).astype(float)

    def against(self, one: Integers) -> Floats:
        """See ``Signal``."""
        return self.wins[one]


class NoSignal:
    """The control: a random order of every search's cells, the same at all steps, known at once.

    Nothing cheaper is possible without a signal: at step 0 it is a search over fewer candidates.
    """

    first = 0
    width: Floats = np.ones(1)

    def __init__(self, searches: Searches, seed: int) -> None:
        every = np.tile(np.arange(searches.cells), (len(searches.order), 1))
        self._ranks = np.random.default_rng(seed).permuted(every, axis=1)

    def scores(self, step: int, among: Mask) -> Floats:
        """See ``Signal``."""
        return self._ranks.astype(float)

    def against(self, one: Integers) -> Floats:
        """See ``Signal``."""
        own = np.take_along_axis(self._ranks, one[:, None], axis=1)
        return (own > self._ranks).astype(np.float32)[:, None]


def halve(
    signal: Signal, searches: Searches, steps: Integers, rungs: tuple[int, ...], eta: int
) -> tuple[float, Mask]:
    """Successive halving: all candidates reach a rung, the best 1/η of them continue, at least one.

    Args:
        signal: what orders the candidates at a rung.
        searches: their order matters only for ties.
        steps: training steps of the recordings, ascending; training ends at the last.
        rungs: indices into steps, ascending.
        eta: η.

    Returns:
        Training steps as a share of those of the unpruned search, and who finished, shape (S, C).
    """
    alive, count = searches.members, searches.size
    spent = before = 0
    for rung in rungs:
        spent += count * (steps[rung] - before)
        before = steps[rung]
        count = max(1, count // eta)
        alive = searches.best(signal.scores(rung, alive), alive, count)
    spent += count * (steps[-1] - before)
    return float(spent / (searches.size * steps[-1])), alive


@dataclass(frozen=True)
class Percentile:
    """Prune a candidate that beats too few of those that finished before it."""

    share: float  # of these that must be beaten, averaged over columns; ½ is median pruning
    warmup: int  # index of the first step at which candidates are judged
    startup: int  # candidates that must have finished before any is judged


def prune(
    signal: Signal, searches: Searches, steps: Integers, settings: list[Percentile]
) -> tuple[Floats, Mask]:
    """Percentile pruning, one candidate after the other, under G settings at once.

    A candidate is judged at every step from the warm-up on but the last, where nothing is saved.

    Returns:
        Training steps as a share of the unpruned search's, mean over searches, shape (G,); and who
        finished, shape (S, C, G).
    """
    rows, last = np.arange(len(searches.order)), len(steps) - 1
    index = np.arange(last)[:, None]
    share, warmup, startup = np.array([(s.share, s.warmup, s.startup) for s in settings]).T
    looks = (index >= warmup) & (index >= signal.first)
    needed = share * np.broadcast_to(signal.width, len(steps))[:last, None]
    finished = np.zeros((len(rows), searches.cells, len(settings)), dtype=np.float32)
    count = np.zeros((len(rows), 1, len(settings)))
    spent = np.zeros((len(rows), len(settings)))
    for one in searches.order.T:
        beaten = signal.against(one)[:, :last] @ finished
        # The margin keeps a tie with the threshold a tie, however the product is rounded.
        pruned = looks & (count >= startup) & (beaten < needed * count - 1e-6)
        stopped = pruned.any(axis=1)
        spent += steps[np.where(stopped, pruned.argmax(axis=1), last)]
        finished[rows, one] = ~stopped
        count[:, 0] += ~stopped
    return spent.mean(axis=0) / (searches.size * steps[-1]), finished > 0
