"""Population: the readings of many trials, for a decision to compare."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from prescreen.panel import Panel
from prescreen.pruning.agreement import lasting
from prescreen.pruning.column import Column
from prescreen.pruning.ends import Ends
from prescreen.pruning.history import History, Values
from prescreen.pruning.levels import Levels
from prescreen.pruning.outlook import Outlook, outlook
from prescreen.pruning.rules import Halving
from prescreen.pruning.rungs import Rungs
from prescreen.pruning.sources import sources
from prescreen.pruning.ties import Ties


class Population:
    """The readings of trials and how these ended; everything else is derived from that.

    The result does not depend on the order in which readings come in: processes with the same readings
    decide alike. Trials need not be read at the same steps. Only readings and ends are pickled.

    Trials of one architecture tie in measures of the untrained network. If such a measure is undefined
    for one trial, all trials tie in it; see ``Ties``. A readout of the trained network that is undefined
    for one of those compared at a step ties there; see ``Column``. A model that has failed is the worst.

    Args:
        panel: the readouts that are compared.
    """

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self._ends: Ends | None = None
        self._trials: dict[int, History] = {}
        self._derive()

    def read(
        self, trial: int, step: int, values: Mapping[str, float | str], architecture: str = ""
    ) -> None:
        """Take a trial's reading; a second one at the same step is ignored.

        Args:
            trial: its number. Trials that tie all get the value of the lowest number.
            step: the step of the reading.
            values: readout name to value, in the readouts' own directions.
            architecture: a string that is equal for trials of one architecture; empty if unknown.

        Raises:
            KeyError: a readout of the panel is missing from the values.
        """
        row = self.panel.oriented(values)
        known = self._trials.setdefault(trial, History(len(row)))
        if known.index(step) is not None:
            return
        renamed = bool(architecture and len(known) and not known.architecture)
        known.architecture = known.architecture or architecture
        index = known.insert(step, row)
        late = index + 1 < len(known) or known.objective is not None
        if late or renamed or self._compare(trial, known, [index]):
            self._derive()
        else:
            self._levels.rise(trial, known)
            self._rungs.enter(trial, known, index)

    def complete(self, trial: int, objective: Values = ()) -> None:
        """Note that a trial ran to its end: other trials are compared with it from now on.

        Exceptions are a trial that was never read, and one that had diverged at its last reading.

        Args:
            trial: its number.
            objective: its final values, higher is better; NaN and −∞ are failures, empty is unknown.
        """
        known = self._trials.get(trial)
        if known is None or known.objective is not None:
            return
        if self._failed(known, len(known) - 1):
            return
        known.objective = objective
        self._agreements.clear()
        self._ends = None
        failed = [index for index in range(len(known)) if self._failed(known, index)]
        if self._compare(trial, known, failed):
            self._derive()
        else:
            self._add(trial, known)
            self._levels.rise(trial, known)

    def __len__(self) -> int:
        """The number of trials that were read."""
        return len(self._trials)

    def shared_steps(self) -> list[int]:
        """Steps at which completed trials were read, rising."""
        return sorted(self._completed)

    def steps(self, trial: int) -> list[int]:
        """Steps at which a trial was read, rising."""
        return self._trials[trial].steps.tolist() if trial in self._trials else []

    def was_read(self, trial: int, step: int) -> bool:
        """Whether a trial was read at a step."""
        return trial in self._trials and self._trials[trial].index(step) is not None

    def reading(self, trial: int, step: int) -> Values:
        """A trial's reading as it is compared: oriented, and with ties.

        Values of a model that had failed are −∞; NaN is a readout that is not defined for the model.

        Raises:
            KeyError: it was not read at that step.
        """
        return self._compared(*self._known(trial, step))

    def published(self, trial: int, step: int) -> float:
        """The value of a panel of one readout at a trial's reading; NaN as it was read.

        Raises:
            KeyError: it was not read at that step.
        """
        known, index = self._known(trial, step)
        return self.panel.published(self._ties.stands(known.architecture, known.row(index)))

    def has_diverged(self, trial: int, step: int) -> bool:
        """Whether a model had failed at a reading: see ``Panel.failed``."""
        return self._failed(*self._known(trial, step))

    def objective(self, trial: int) -> Values:
        """Final values of a trial that completed; empty if unknown."""
        return self._trials[trial].objective or ()

    def completed(self, step: int) -> Column:
        """Completed trials that were read at a step."""
        return self._completed.get(step) or Column(len(self.panel))

    def at_rung(self, rule: Halving, rung: int) -> Column:
        """All trials that have reached a rung, with their first reading there."""
        return self._rungs.at(rule, rung, self._trials)

    def enters(self, rule: Halving, trial: int, step: int) -> bool:
        """Whether a trial enters a rung with its reading at a step."""
        known = self._trials[trial]
        index = known.index(step)
        return index is not None and self._rungs.entered(rule, known, index) is not None

    def agreement(self, step: int) -> float:
        """How well the order of the completed trials at a step agrees with their final order."""
        if step not in self._agreements:
            self._agreements[step] = lasting(self._completed, step)
        return self._agreements[step]

    def outlook(self, step: int) -> Outlook | None:
        """What trials that have come to a step, with their latest readings, may be expected to do.

        Returns:
            None if no trial has completed or, without any objective, at the last step.
        """
        column, ends = self._levels.at(step, self._trials), self.ends()
        if ends is None or (ends.until is not None and step >= ends.until):
            return None
        size = len(column), len(ends)
        if step not in self._outlooks or self._outlooks[step][0] != size:
            trials = np.array(column.members, dtype=np.int64)
            architectures = [self._trials[trial].architecture for trial in column.members]
            told = sources(self.panel, column.defined(), architectures, step)
            self._outlooks[step] = size, outlook(trials, told, ends)
        return self._outlooks[step][1]

    def ends(self) -> Ends | None:
        """How the completed trials ended; without any objective, what their networks read at last."""
        if self._ends is None:
            completed = {t: k for t, k in self._trials.items() if k.objective is not None}
            known = {t: k.objective for t, k in completed.items() if k.objective}
            if known:
                self._ends = Ends.of(known)
            elif completed:
                rows = {t: self._compared(k, len(k) - 1) for t, k in completed.items()}
                self._ends = Ends.of_readings(rows, self._ties.of_network, max(self._completed))
        return self._ends

    def __getstate__(self) -> dict[str, Any]:
        return {"panel": self.panel, "trials": self._trials}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.panel, self._trials = state["panel"], state["trials"]
        self._derive()

    def _derive(self) -> None:
        """Derive everything from the trials again. Needed when ties change, which is rare."""
        self._ties = Ties(self.panel)
        self._completed: dict[int, Column] = {}
        self._agreements: dict[int, float] = {}
        self._levels = Levels(len(self.panel), self._standing)
        self._outlooks: dict[int, tuple[tuple[int, int], Outlook | None]] = {}
        self._ends = None
        self._rungs = Rungs(len(self.panel), self._standing)
        for trial, known in self._trials.items():
            self._compare(trial, known, range(len(known)))
        for trial, known in self._trials.items():
            if known.objective is not None:
                self._add(trial, known)

    def _known(self, trial: int, step: int) -> tuple[History, int]:
        known = self._trials[trial]
        if (index := known.index(step)) is None:
            raise KeyError(step)
        return known, index

    def _failed(self, known: History, index: int) -> bool:
        untrained = int(known.steps[0] == 0)  # readings at step 0, before the first trained one
        return self.panel.failed(known.row(index), known.steps[index], first=index <= untrained)

    def _compared(self, known: History, index: int) -> Values:
        row = self._ties.tied(known.architecture, known.row(index))
        if not self._failed(known, index):
            return row
        return tuple(-math.inf if math.isnan(value) else value for value in row)

    def _standing(self, known: History, index: int) -> Values | None:
        return None if self._failed(known, index) else self._compared(known, index)

    def _compare(self, trial: int, known: History, indices: Iterable[int]) -> bool:
        """Tell ties the readings that are compared; returns whether earlier readings change."""
        if not self._ties.of_network:
            return False
        changed = False
        for index in indices:
            failed = self._failed(known, index)
            if known.objective is not None or not failed:
                row = known.row(index)
                changed |= self._ties.note(trial, known.architecture, row, failed=failed)
        return changed

    def _add(self, trial: int, known: History) -> None:
        """Add a completed trial to the columns."""
        for index, step in enumerate(known.steps):
            if step not in self._completed:
                self._completed[step] = Column(len(self.panel))
            self._completed[step].add(trial, self._compared(known, index))
