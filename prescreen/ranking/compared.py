"""Compared: the values that scores were computed from, so that the comparison can be asked again."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prescreen.comparison import Comparison, compare, weights
from prescreen.panel import Panel
from prescreen.ranks import Floats, Integers, aggregate
from prescreen.reading import Reading


@dataclass(frozen=True, eq=False)
class Compared:
    """The last readings of M candidates that did not fail, with S seeds and R readouts.

    Args:
        names: of the candidates, in the order that equal scores keep.
        panel: the readouts.
        values: oriented so that higher is better, and those of the untrained network as the first
            candidate of an architecture has them, shape (S, M, R). NaN for a candidate without any
            value of its trained network, which is the worst.
        shared: for every value the candidate that it is of, shape (M, R).
        architectures: of the candidates.
        left_out: readouts that do not count, as they are not defined for all candidates.
        ahead: share of draws of the probe and, with several seeds, of the training, in which a candidate
            is ahead of the one above it; NaN where that is not known, shape (M,).
    """

    names: tuple[str, ...]
    panel: Panel
    values: Floats
    shared: Integers
    architectures: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    ahead: Floats = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        panel: Panel,
        runs: Sequence[Sequence[Reading]],
        failed: NDArray[np.bool_],
        left_out: Sequence[str],
    ) -> Compared:
        """Take what is compared from readings.

        Args:
            names: of the candidates.
            panel: the readouts.
            runs: for each seed the last readings of the candidates.
            failed: which have no value of their trained network, shape (S, M).
            left_out: readouts that do not count.
        """
        flags = panel.of_network or (False,) * len(panel)
        values = np.stack([_oriented(run, panel, flags) for run in runs])
        values[failed] = math.nan
        firsts = enumerate(_firsts(runs[0]))
        shared = [[first if flag else at for flag in flags] for at, first in firsts]
        return cls(
            tuple(names),
            panel,
            values,
            np.array(shared, dtype=np.intp).reshape(len(names), len(flags)),
            tuple(reading.architecture for reading in runs[0]),
            tuple(left_out),
        )

    def counted(self, without: Collection[str] = ()) -> list[int]:
        """Where the readouts that count are in the panel.

        Args:
            without: further ones that do not.
        """
        apart = {*self.left_out, *without}
        return [at for at, name in enumerate(self.panel.names) if name not in apart]

    def comparison(self, values: Floats | None = None, without: Collection[str] = ()) -> Comparison:
        """Scores, the mean over seeds.

        Args:
            values: in place of the candidates' own, shape (S, M, R).
            without: readouts that do not count.
        """
        counted = self.counted(without)
        found = self.values if values is None else values
        return Comparison.mean([self.one_seed(run[:, counted], counted) for run in found])

    def one_seed(self, values: Floats, counted: Sequence[int]) -> Comparison:
        """Scores with one seed.

        Args:
            values: of the readouts that count, shape (M, len(counted)).
            counted: where these are in the panel.
        """
        if not counted:
            return Comparison(aggregate(np.zeros((len(values), 1))))
        return compare(values, self._flags(counted), self.architectures)

    def weights(self) -> dict[str, Floats]:
        """How much each readout that counts does in the candidates' scores, a mean over seeds: (M,)."""
        counted = self.counted()
        if not counted:
            return {}
        runs = [
            weights(run[:, counted], self._flags(counted), self.architectures)
            for run in self.values
        ]
        mean = np.mean(runs, axis=0)
        return {self.panel.names[at]: mean[:, number] for number, at in enumerate(counted)}

    def _flags(self, counted: Sequence[int]) -> list[bool]:
        flags = self.panel.of_network or (False,) * len(self.panel)
        return [flags[at] for at in counted]


def _firsts(run: Sequence[Reading]) -> list[int]:
    """For each reading the first one of its architecture; of an unknown one, itself."""
    first: dict[str, int] = {}
    return [
        first.setdefault(one.architecture, at) if one.architecture else at
        for at, one in enumerate(run)
    ]


def _oriented(run: Sequence[Reading], panel: Panel, of_network: Sequence[bool]) -> Floats:
    """Values that are better when higher, shape (candidates, readouts)."""
    firsts = _firsts(run)
    rows = []
    for at, reading in enumerate(run):
        own, shared = panel.oriented(reading.values), panel.oriented(run[firsts[at]].values)
        both = zip(own, shared, of_network, strict=True)
        rows.append([same if flag else mine for mine, same, flag in both])
    return np.array(rows, dtype=float).reshape(len(run), len(panel))
