"""Population: the readings of many trials, kept by step, where they can be compared."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prescreen.ranks import aggregate

Floats = NDArray[np.floating[Any]]


class Population:
    """Oriented readings (higher is better) of trials, one column of trials a step.

    Trials need not be read at the same steps; memory grows with the readings alone.

    Args:
        width: readouts in a reading, R.
    """

    def __init__(self, width: int) -> None:
        self._width = width
        self._everyone: set[int] = set()
        self._columns: dict[int, _Column] = {}

    def add(self, member: int, readings: Mapping[int, Sequence[float]]) -> None:
        """Add a trial's readings, step to R values, once."""
        self._everyone.add(member)
        for step, values in readings.items():
            if step not in self._columns:
                self._columns[step] = _Column(self._width)
            self._columns[step].add(member, values)

    def __contains__(self, member: object) -> bool:
        return member in self._everyone

    def members(self, step: int) -> Sequence[int]:
        """Trials that were read at a step, in the order in which they were added."""
        return self._columns[step].members if step in self._columns else ()

    def readings(self, step: int) -> Floats:
        """Their readings, shape (trials, R)."""
        values = self._columns[step].values if step in self._columns else array("d")
        # A copy: an array that shares its memory could not grow.
        return np.array(np.frombuffer(values)).reshape(-1, self._width)

    def beaten(self, step: int, reading: Sequence[float]) -> float:
        """How many trials a reading beats at a step, averaged over readouts; a tie counts half.

        NaN loses to every number. Over the number of trials this is the ``aggregate`` score of the
        reading among them, without ranking them all again: the cost is a logarithm of their number.
        """
        if step not in self._columns:
            return 0.0
        return self._columns[step].beaten(reading) / self._width

    def ranked(self, step: int) -> Floats:
        """``aggregate`` scores of the trials read at a step, in the order of ``members``."""
        return self._columns[step].scores() if step in self._columns else np.empty(0)

    def score(self, step: int, reading: Sequence[float]) -> float:
        """``aggregate`` score of a reading among the trials read at a step, at least one."""
        column = self._columns[step]
        return column.beaten(reading) / (self._width * len(column.members))

    def scores(self, step: int, reading: Sequence[float]) -> tuple[float, Floats]:
        """``aggregate`` scores of a reading and of the trials read at a step, ranked together.

        Args:
            step: at which the trials were read.
            reading: of a trial that is not among them, R values.

        Returns:
            Its score, and theirs in the order of ``members``, shape (trials,). Equal readings have
            equal scores to the last bit.
        """
        if step not in self._columns:
            return 1.0, np.empty(0)
        column = self._columns[step]
        most = self._width * len(column.members)
        return self.score(step, reading), column.wins(reading) / most

    def orders(self, step: int) -> tuple[Floats, Floats]:
        """Scores at a step, and of the same trials at the latest other step that they share.

        That step is the latest at which at least half of those read at ``step`` were read, too. It
        is a later one unless ``step`` is the last. Where there is no such step both are empty.
        """
        here = self.members(step)
        for other in sorted(self._columns, reverse=True):
            there = self.members(other)
            if other == step or 2 * len(there) < len(here):
                continue
            if here == there:
                return self.ranked(step), self.ranked(other)
            shared = set(here) & set(there)
            if 2 * len(shared) >= len(here):
                return self._scores(step, shared), self._scores(other, shared)
        return np.empty(0), np.empty(0)

    def _scores(self, step: int, members: set[int]) -> Floats:
        chosen = [member in members for member in self.members(step)]
        return aggregate(self.readings(step)[chosen])


class _Column:
    """The readings at one step, as they came and sorted."""

    def __init__(self, width: int) -> None:
        self.members = array("q")
        self.values = array("d")
        self._width = width
        self._rising: list[list[float]] = [[] for _ in range(width)]
        self._wins = np.empty(0)

    def add(self, member: int, values: Sequence[float]) -> None:
        self.members.append(member)
        self.values.extend(values)
        for rising, value in zip(self._rising, values, strict=True):
            if value == value:  # NaN has no place in an order
                insort(rising, value)

    def beaten(self, reading: Sequence[float]) -> float:
        count = len(self.members)
        wins = 0.0
        for rising, value in zip(self._rising, reading, strict=True):
            nan = count - len(rising)
            if value == value:
                wins += nan + (bisect_left(rising, value) + bisect_right(rising, value)) / 2
            else:
                wins += nan / 2
        return wins

    def wins(self, reading: Sequence[float]) -> Floats:
        """How often each member beats the others and one more reading, over all readouts."""
        return self._among_members() + _wins_over(reading, self._rows())

    def scores(self) -> Floats:
        """The members' ``aggregate`` scores among themselves."""
        most = self._width * (len(self.members) - 1)
        return self._among_members() / most if most else np.ones(len(self.members))

    def _among_members(self) -> Floats:
        """How often each member beats the others; ranking all anew takes a hundred times as long."""
        rows, known = self._rows(), len(self._wins)
        if len(rows) == known + 1:
            over_new = _wins_over(rows[-1], rows[:-1])
            own = self._width * known - over_new.sum()
            self._wins = np.append(self._wins + over_new, own)
        elif len(rows) > known:
            # Wins come in halves: rounding makes them exact.
            wins = aggregate(rows) * (self._width * (len(rows) - 1))
            self._wins = np.round(2 * wins) / 2
        return self._wins

    def _rows(self) -> Floats:
        return np.frombuffer(self.values).reshape(-1, self._width)


def _wins_over(reading: Sequence[float] | Floats, rows: Floats) -> Floats:
    """How often each row beats a reading; a tie counts half, NaN loses to every number."""
    wins = np.zeros(len(rows))
    for one, column in zip(reading, rows.T, strict=True):
        if one == one:
            wins += (column > one) + (column == one) / 2
        else:
            wins += 1 - np.isnan(column) / 2
    return wins
