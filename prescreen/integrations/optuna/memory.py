"""Memory: the readings in a study's storage, read once, as a population.

It is only a cache: a new process reads the same from the storage.
"""

from __future__ import annotations

import threading
from datetime import datetime
from weakref import WeakKeyDictionary

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from prescreen.integrations.optuna.attributes import stored_readings
from prescreen.integrations.optuna.versions import violations
from prescreen.pruning import Panel, Population


class Memory:
    """The readings of one study's trials, for one panel.

    Hold ``lock`` from ``update`` to the decision.

    Args:
        panel: the readouts that are kept; readings without one of them are left out.

    Attributes:
        population: the readings.
        pruned: the number of trials that were read and pruned.
    """

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.lock = threading.RLock()
        self._forget()

    def update(self, study: Study, judged: FrozenTrial | None = None) -> Population:
        """Take new readings from the storage.

        Args:
            study: the study of this memory.
            judged: the trial in question, which may have more readings than its copy in the storage.
        """
        trials = study.get_trials(deepcopy=False)
        trials = trials if judged is None else [*trials, judged]
        if any(self._is_another(trial) for trial in trials):
            self._forget()
        for trial in trials:
            if trial.number not in self._finished:
                self._take_in(trial, study.directions)
        return self.population

    def _is_another(self, trial: FrozenTrial) -> bool:
        """Whether the study was deleted and made again: SQLite reuses its ids."""
        return self._begun.get(trial.number, trial.datetime_start) != trial.datetime_start

    def _take_in(self, trial: FrozenTrial, directions: list[StudyDirection]) -> None:
        if trial.state is TrialState.WAITING:
            return
        self._begun[trial.number] = trial.datetime_start
        if self._attributes.get(trial.number) != len(trial.user_attrs):
            self._attributes[trial.number] = len(trial.user_attrs)
            for step, reading in stored_readings(trial.number, trial.user_attrs).items():
                if not self.panel.lacking(reading["values"]):
                    architecture = reading.get("architecture", "")
                    self.population.read(trial.number, step, reading["values"], architecture)
        if trial.state.is_finished():
            self._finished.add(trial.number)
            pruned = trial.state is TrialState.PRUNED
            self.pruned += pruned and bool(self.population.steps(trial.number))
        if trial.state is TrialState.COMPLETE:
            self.population.complete(trial.number, _objective(trial, directions))

    def _forget(self) -> None:
        self.population = Population(self.panel)
        self.pruned = 0
        self._begun: dict[int, datetime | None] = {}
        self._attributes: dict[int, int] = {}
        self._finished: set[int] = set()


def _objective(trial: FrozenTrial, directions: list[StudyDirection]) -> tuple[float, ...]:
    """Final values, higher is better; a trial that violates a constraint has failed in all of them."""
    if any(violation > 0 for violation in violations(trial)):
        return (float("-inf"),) * len(directions)
    return tuple(
        value if direction is StudyDirection.MAXIMIZE else -value
        for value, direction in zip(trial.values, directions, strict=True)
    )


_memories: WeakKeyDictionary[Study, dict[Panel, Memory]] = WeakKeyDictionary()
_lock = threading.Lock()


def memory_of(study: Study, panel: Panel) -> Memory:
    """The memory that all pruners of a study object with this panel share.

    A stand-in for a study without weak references gets a new memory every time, which takes longer.
    """
    with _lock:
        try:
            return _memories.setdefault(study, {}).setdefault(panel, Memory(panel))
        except TypeError:
            return Memory(panel)
