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
    averaged over readouts. A tie counts half. NaN loses to every number.

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
        self._wins = np.empty(0)

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
        if reading is not None:
            wins = self._among_members() + _wins_over(reading, self._rows())
            return wins / (self._width * max(len(self), 1))
        most = self._width * (len(self) - 1)
        return self._among_members() / most if most > 0 else np.ones(len(self))

    def scores_of(self, members: set[int]) -> Floats:
        """The scores of some members among themselves, in the order of ``members``."""
        if len(members) == len(self):
            return self.scores()
        return aggregate(self._rows()[[member in members for member in self.members]])

    def _beaten(self, reading: Sequence[float]) -> float:
        wins = 0.0
        for rising, value in zip(self._rising, reading, strict=True):
            nan = len(self) - len(rising)
            if value == value:
                wins += nan + (bisect_left(rising, value) + bisect_right(rising, value)) / 2
            else:
                wins += nan / 2
        return wins

    def _among_members(self) -> Floats:
        """How often each member beats the others, over all readouts."""
        rows = self._rows()
        if len(rows) > len(self._wins) + _FEW:
            # Wins come in halves: rounding makes them exact.
            wins = aggregate(rows) * (self._width * (len(rows) - 1))
            self._wins = np.round(2 * wins) / 2
        for known in range(len(self._wins), len(rows)):
            over_new = _wins_over(rows[known], rows[:known])
            own = self._width * known - over_new.sum()
            self._wins = np.append(self._wins + over_new, own)
        return self._wins

    def _rows(self) -> Floats:
        # Do not keep this view: while it shares memory with the array, the array cannot grow.
        return np.frombuffer(self._values).reshape(-1, self._width)


def _wins_over(reading: Sequence[float] | Floats, rows: Floats) -> Floats:
    """How often each row beats a reading; a tie counts half, NaN loses to every number."""
    wins = np.zeros(len(rows))
    for one, column in zip(reading, rows.T, strict=True):
        if one == one:
            wins += (column > one) + (column == one) / 2
        else:
            wins += 1 - np.isnan(column) / 2
    return wins
