"""History: what is known of one trial."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

Values = tuple[float, ...]


@dataclass(slots=True)
class History:
    """A trial's readings in the order of their steps, and how it ended.

    They are kept flat: objects for every reading of 100,000 trials would fill the memory.

    Args:
        width: readouts in a reading, R.
        architecture: what trials of the same architecture have in common; empty if unknown.
        objective: its final values, higher is better, empty if unknown; None until it completes.
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

    def insert(self, step: int, row: Values) -> int:
        """Add a reading at a step at which there is none; its index."""
        index = bisect_left(self.steps, step)
        self.steps.insert(index, step)
        self._values[index * self.width : index * self.width] = array("d", row)
        return index

    def __reduce__(self) -> tuple[Any, ...]:
        # Arrays pickle with a header each, which would be a third of all.
        bytes_of = self.steps.tobytes(), self._values.tobytes()
        return _restored, (self.width, self.architecture, self.objective, *bytes_of)


def _restored(
    width: int, architecture: str, objective: Values | None, steps: bytes, values: bytes
) -> History:
    return History(width, architecture, objective, array("q", steps), array("d", values))
