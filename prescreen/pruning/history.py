"""History: the readings of one trial, and how it ended."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Values = tuple[float, ...]


@dataclass(slots=True)
class History:
    """A trial's readings in the order of their steps, and how it ended.

    They are kept in flat arrays: one object per reading would fill the memory with 100,000 trials.

    Args:
        width: readouts in a reading, R.
        architecture: a string that is equal for trials of one architecture; empty if unknown.
        objective: its final values, higher is better; empty if unknown, None until it completes.
    """

    width: int
    architecture: str = ""
    objective: Values | None = None
    steps: array[int] = field(default_factory=lambda: array("q"))
    _values: array[float] = field(default_factory=lambda: array("d"))

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[tuple[int, Values]]:
        """Steps and readings."""
        return ((step, self.row(index)) for index, step in enumerate(self.steps))

    def row(self, index: int) -> Values:
        """The reading of an index, R values."""
        return tuple(self._values[index * self.width : (index + 1) * self.width])

    def index(self, step: int) -> int | None:
        """The index of the reading at a step; None if there is none."""
        index = bisect_left(self.steps, step)
        return index if index < len(self.steps) and self.steps[index] == step else None

    def latest(self, step: int) -> int | None:
        """The index of the latest reading up to a step; None if there is none."""
        index = bisect_right(self.steps, step) - 1
        return index if index >= 0 else None

    def insert(self, step: int, row: Values) -> int:
        """Add a reading at a step without one; returns its index."""
        index = bisect_left(self.steps, step)
        self.steps.insert(index, step)
        self._values[index * self.width : index * self.width] = array("d", row)
        return index

    def __reduce__(self) -> tuple[Any, ...]:
        # Pickled arrays have a header each, which would make up a third of the size.
        bytes_of = self.steps.tobytes(), self._values.tobytes()
        return _restored, (self.width, self.architecture, self.objective, *bytes_of)


def _restored(
    width: int, architecture: str, objective: Values | None, steps: bytes, values: bytes
) -> History:
    return History(width, architecture, objective, array("q", steps), array("d", values))
