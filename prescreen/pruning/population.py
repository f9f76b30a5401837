"""Population: the readings of many trials, where a decision can compare them."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prescreen.panel import Panel
from prescreen.pruning.agreement import agreement
from prescreen.pruning.column import Column
from prescreen.pruning.rules import Halving
from prescreen.pruning.ties import Ties, Values


@dataclass(slots=True)
class _Trial:
    """What was taken in of one trial, flat: objects for every reading would fill the memory."""

    architecture: str = ""
    objective: Values | None = None  # None until it completes
    steps: array[int] = field(default_factory=lambda: array("q"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def rows(self) -> Iterator[tuple[int, Values]]:
        for index, step in enumerate(self.steps):
            yield step, self.row(index)

    def row(self, index: int) -> Values:
        width = len(self.values) // len(self.steps)
        return tuple(self.values[index * width : (index + 1) * width])


class Population:
    """The readings of trials and how these ended; everything else is derived from that.

    What it derives does not depend on the order in which it was told, so that processes which know
    the same decide alike. Trials need not be read at the same steps. It pickles as what it was told.

    Trials of one architecture tie in measures of the untrained network, and all do where such a
    measure is undefined for one of them; see ``Ties``.

    Args:
        panel: the readouts that are compared.
    """

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self._trials: dict[int, _Trial] = {}
        self._rungs: dict[Halving, dict[int, Column]] = {}
        self._derive()

    def read(
        self, trial: int, step: int, values: Mapping[str, float | str], architecture: str = ""
    ) -> None:
        """Take in a trial's reading; a second one at the same step changes nothing.

        Args:
            trial: its number; where trials of one architecture tie, the lowest stands for all.
            step: at which it was read.
            values: readout name to value, in the readouts' own directions.
            architecture: what all trials of the same architecture have in common; empty if unknown.

        Raises:
            KeyError: the values lack a readout of the panel.
        """
        row = self.panel.oriented(values)
        known = self._trials.setdefault(trial, _Trial())
        index = bisect_left(known.steps, step)
        if index < len(known.steps) and known.steps[index] == step:
            return
        late = index < len(known.steps) or known.objective is not None
        renamed = bool(architecture and known.steps and not known.architecture)
        known.architecture = known.architecture or architecture
        known.steps.insert(index, step)
        known.values[index * len(row) : index * len(row)] = array("d", row)
        if late or renamed or self._compare(trial, known, [(step, row)]):
            self._derive()
        else:
            for rule in self._rungs:
                self._enter(rule, trial, known, index)

    def complete(self, trial: int, objective: Values = ()) -> None:
        """A trial ran to its end: others are compared with it.

        They are not if it was never read, or if its last reading shows that it had diverged.

        Args:
            trial: its number.
            objective: its final values, higher is better; NaN and −∞ are failures, empty is unknown.
        """
        known = self._trials.get(trial)
        if known is None or known.objective is not None:
            return
        if not known.steps or self._ties.diverged(known.row(len(known.steps) - 1)):
            return
        known.objective = objective
        self._agreements.clear()
        if self._compare(trial, known, known.rows()):
            self._derive()
        else:
            self._add(trial, known)

    def steps(self, trial: int) -> list[int]:
        """Steps at which a trial was read, rising."""
        return self._trials[trial].steps.tolist() if trial in self._trials else []

    def step_before(self, trial: int, step: int) -> int | None:
        """The latest step before a step at which a trial was read; None if there is none."""
        steps = self._trials[trial].steps
        index = bisect_left(steps, step)
        return steps[index - 1] if index else None

    def reading(self, trial: int, step: int) -> Values:
        """A trial's reading as it is compared: oriented, and tied where the class says.

        Raises:
            KeyError: it was not read at that step.
        """
        known = self._trials[trial]
        index = bisect_left(known.steps, step)
        if index == len(known.steps) or known.steps[index] != step:
            raise KeyError(step)
        return self._ties.tied(known.architecture, known.row(index))

    def has_diverged(self, trial: int, step: int) -> bool:
        """Whether a reading is NaN in all readouts of the trained network."""
        return self._ties.diverged(self.reading(trial, step))

    def objective(self, trial: int) -> Values:
        """Final values of a trial that completed; empty where they are unknown."""
        return self._trials[trial].objective or ()

    def completed(self, step: int) -> Column:
        """Completed trials that were read at a step."""
        return self._completed.get(step) or Column(len(self.panel))

    def at_rung(self, rule: Halving, rung: int) -> Column:
        """All trials that have reached a rung, with their first reading there."""
        if rule not in self._rungs:
            self._rungs[rule] = {}
            for trial, known in self._trials.items():
                for index in range(len(known.steps)):
                    self._enter(rule, trial, known, index)
        return self._rungs[rule].get(rung) or Column(len(self.panel))

    def enters(self, rule: Halving, trial: int, step: int) -> bool:
        """Whether a trial enters a rung with its reading at a step."""
        known = self._trials[trial]
        return self._entered(rule, known, bisect_left(known.steps, step)) is not None

    def agreement(self, step: int) -> float:
        """How well the order of the completed trials here agrees with the one in which they end."""
        if step not in self._agreements:
            self._agreements[step] = self._agreement(step)
        return self._agreements[step]

    def _agreement(self, step: int) -> float:
        """With the latest other step at which half of the trials of this one were read.

        That is a later step unless this one is the last.
        """
        here = self.completed(step)
        for other in sorted(self._completed, reverse=True):
            there = self._completed[other]
            if other == step or 2 * len(there) < len(here):
                continue
            if here.members == there.members:
                return agreement(here.scores(), there.scores())
            shared = set(here.members) & set(there.members)
            if 2 * len(shared) >= len(here):
                # Every trial joins all of its columns at once: their orders are the same.
                return agreement(here.scores_of(shared), there.scores_of(shared))
        return -1.0

    def __getstate__(self) -> dict[str, Any]:
        return {"panel": self.panel, "trials": self._trials}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.panel, self._trials = state["panel"], state["trials"]
        self._rungs = {}
        self._derive()

    def _derive(self) -> None:
        """Work out anew what follows from the trials; where they tie has changed, which is rare."""
        self._ties = Ties(self.panel)
        self._completed: dict[int, Column] = {}
        self._agreements: dict[int, float] = {}
        self._rungs.clear()
        for trial, known in self._trials.items():
            self._compare(trial, known, known.rows())
        for trial, known in self._trials.items():
            if known.objective is not None:
                self._add(trial, known)

    def _compare(self, trial: int, known: _Trial, rows: Iterable[tuple[int, Values]]) -> bool:
        """Let ties know the readings that are compared; whether they are others from now on."""
        if not self._ties.of_network:
            return False
        compared = known.objective is not None
        return any(
            [
                self._ties.note(trial, known.architecture, row)
                for _, row in rows
                if compared or not self._ties.diverged(row)
            ]
        )

    def _add(self, trial: int, known: _Trial) -> None:
        """Let a completed trial be compared with."""
        for step, row in known.rows():
            if step not in self._completed:
                self._completed[step] = Column(len(self.panel))
            self._completed[step].add(trial, self._ties.tied(known.architecture, row))

    def _enter(self, rule: Halving, trial: int, known: _Trial, index: int) -> None:
        """Let a trial be compared with at the rung that it enters with a reading, if it does."""
        rung = self._entered(rule, known, index)
        if rung is not None:
            column = self._rungs[rule].setdefault(rung, Column(len(self.panel)))
            column.add(trial, self._ties.tied(known.architecture, known.row(index)))

    def _entered(self, rule: Halving, known: _Trial, index: int) -> int | None:
        """The rung of a reading that is the trial's first there; one that diverged enters none."""
        rung = rule.rung(known.steps[index])
        if rung is None or self._ties.diverged(known.row(index)):
            return None
        for before in range(index - 1, -1, -1):
            if known.steps[before] < rung:
                break
            if not self._ties.diverged(known.row(before)):
                return None
        return rung
