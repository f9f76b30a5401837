"""Rungs: for ``Halving``, all trials that have reached a rung, with their first readings there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prescreen.pruning.column import Column
from prescreen.pruning.history import History, Values
from prescreen.pruning.rules import Halving


class Rungs:
    """Columns of the trials at the rungs of each rule that is asked for.

    Args:
        width: readouts in a reading, R.
        row: a trial's reading of an index as it is compared; None if the model had failed.
    """

    def __init__(self, width: int, row: Callable[[History, int], Values | None]) -> None:
        self._width = width
        self._row = row
        self._columns: dict[Halving, dict[int, Column]] = {}

    def at(self, rule: Halving, rung: int, trials: Mapping[int, History]) -> Column:
        """The column of a rung."""
        if rule not in self._columns:
            self._columns[rule] = {}
            for trial, known in trials.items():
                for index in range(len(known)):
                    self._enter(rule, trial, known, index)
        return self._columns[rule].get(rung) or Column(self._width)

    def enter(self, trial: int, known: History, index: int) -> None:
        """Add a trial to the rungs that it enters with a reading."""
        for rule in self._columns:
            self._enter(rule, trial, known, index)

    def entered(self, rule: Halving, known: History, index: int) -> int | None:
        """The rung of a reading that is the trial's first there; None if not, or if it diverged."""
        rung = rule.rung(known.steps[index])
        if rung is None or self._row(known, index) is None:
            return None
        for before in range(index - 1, -1, -1):
            if known.steps[before] < rung:
                break
            if self._row(known, before) is not None:
                return None
        return rung

    def _enter(self, rule: Halving, trial: int, known: History, index: int) -> None:
        rung = self.entered(rule, known, index)
        if rung is not None:
            row = self._row(known, index)
            assert row is not None
            self._columns[rule].setdefault(rung, Column(self._width)).add(trial, row)
