"""Column: readings that are compared with each other, with ranks that are updated incrementally."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

import numpy as np

from prescreen.ranks import Floats, aggregate

# Up to this many new members are ranked one by one; for more, ranking all of them is faster.
_FEW = 8


class Column:
    """Readings (higher is better) of distinct trials, in the order of arrival and sorted.

    Scores are those of ``prescreen.ranks.aggregate``: the share of other readings that a reading beats,
    averaged over readouts. A tie counts half. If a readout is not defined (NaN) for one of those that
    are compared, all of them tie in it, which is the same as leaving it out.

    Args:
        width: readouts in a reading, R.

    Attributes:
        members: the trials, in the order in which they were added.
    """

    def __init__(self, width: int) -> None:
        self.members = array("q")
        self._width = width
        self._values = array("d")
        self._rising: list[list[float]] = [[] for _ in range(width)]
        self._wins = np.empty((0, width))

    def __len__(self) -> int:
        return len(self.members)

    def add(self, member: int, reading: Sequence[float]) -> None:
        """Add a trial's reading, R values."""
        self.members.append(member)
        self._values.extend(reading)
        for rising, value in zip(self._rising, reading, strict=True):
            if value == value:  # NaN cannot be sorted
                insort(rising, value)

    def score(self, reading: Sequence[float]) -> float:
        """Score of another reading among the members; 1 if there are none.

        The cost is logarithmic in their number.
        """
        return self._beaten(reading) / (self._width * len(self)) if len(self) else 1.0

    def index(self, member: int) -> int:
        """The place of a trial among the members."""
        return int(np.argmax(np.frombuffer(self.members, dtype=np.int64) == member))

    def scores(self, reading: Sequence[float] | None = None) -> Floats:
        """The members' scores among themselves or, if given, together with another reading.

        Equal readings have equal scores to the last bit.

        Returns:
            In the order of ``members``, shape (trials,).
        """
        wins, others = self._among_members(), max(len(self) - 1, 0)
        defined = np.array([len(rising) == len(self) for rising in self._rising])
        if reading is not None:
            wins, others = wins + _wins_over(reading, self._rows()), len(self)
            defined &= ~np.isnan(reading)
        if not others:
            return np.ones(len(self))
        total = wins[:, defined].sum(axis=1) + np.sum(~defined) * others / 2
        return total / (self._width * others)

    def scores_of(self, members: set[int]) -> Floats:
        """The scores of some members among themselves, in the order of ``members``."""
        if len(members) == len(self):
            return self.scores()
        rows = self._rows()[[member in members for member in self.members]]
        return aggregate(np.where(np.isnan(rows).any(axis=0), 0.0, rows))

    def defined(self) -> Floats:
        """The members' readings, shape (trials, readouts); 0 where a readout is not defined for all."""
        rows = self._rows()
        return np.where(np.isnan(rows).any(axis=0), 0.0, rows)

    def _beaten(self, reading: Sequence[float]) -> float:
        wins = 0.0
        for rising, value in zip(self._rising, reading, strict=True):
            if value == value and len(rising) == len(self):
                wins += (bisect_left(rising, value) + bisect_right(rising, value)) / 2
            else:
                wins += len(self) / 2
        return wins

    def _among_members(self) -> Floats:
        """How often each member beats the others, shape (trials, readouts)."""
        rows = self._rows()
        if len(rows) > len(self._wins) + _FEW:
            # Wins come in halves: rounding makes them exact.
            wins = [aggregate(column[:, None]) * (len(rows) - 1) for column in rows.T]
            self._wins = np.round(2 * np.stack(wins, axis=1)) / 2
        for known in range(len(self._wins), len(rows)):
            over_new = _wins_over(rows[known], rows[:known])
            own = known - over_new.sum(axis=0)
            self._wins = np.vstack([self._wins + over_new, own])
        return self._wins

    def _rows(self) -> Floats:
        # Do not keep this view: while it shares memory with the array, the array cannot grow.
        return np.frombuffer(self._values).reshape(-1, self._width)


def _wins_over(reading: Sequence[float] | Floats, rows: Floats) -> Floats:
    """How often each row beats a reading in each readout; a tie counts half. NaN means nothing."""
    wins: Floats = (rows > reading) + (rows == reading) / 2
    return wins
