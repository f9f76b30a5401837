"""Levels: all trials that have come to a step, whether or not they were read exactly there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prescreen.pruning.column import Column
from prescreen.pruning.history import History, Values


class Levels:
    """Columns of the trials that have come to a step, each with its latest reading up to it.

    A trial has come to a step if it was read there or later, or completed. Columns are made for those
    steps that are asked for.

    Args:
        width: readouts in a reading, R.
        row: a trial's reading of an index as it is compared; None if the model had failed.
    """

    def __init__(self, width: int, row: Callable[[History, int], Values | None]) -> None:
        self._width = width
        self._row = row
        self._columns: dict[int, Column] = {}

    def at(self, step: int, trials: Mapping[int, History]) -> Column:
        """The column of a step."""
        if step not in self._columns:
            self._columns[step] = Column(self._width)
            for trial, known in trials.items():
                self._enter(step, trial, known)
        return self._columns[step]

    def rise(self, trial: int, known: History) -> None:
        """Add a trial to the columns that it has come to with its last reading, or with its end."""
        ended = known.objective is not None
        before = known.steps[-1] if ended else known.steps[-2] if len(known) > 1 else -1
        for step in self._columns:
            if step > before:
                self._enter(step, trial, known)

    def _enter(self, step: int, trial: int, known: History) -> None:
        index = known.latest(step)
        if index is None or (step > known.steps[-1] and known.objective is None):
            return
        if step > 0 and known.steps[index] == 0:  # it has only been read before its training
            return
        row = self._row(known, index)
        if row is not None:
            self._columns[step].add(trial, row)
