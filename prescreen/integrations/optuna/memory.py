"""Memory: finished trials with their readings, taken from the storage once.

A finished trial never changes, so what is kept here saves time and decides nothing: a process that
starts anew reads the same from the storage.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from weakref import WeakKeyDictionary

from optuna.storages import BaseStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from prescreen.integrations.optuna.attributes import values_by_step
from prescreen.integrations.optuna.twins import Readings, Twins
from prescreen.pruning import Panel, Population


class Memory:
    """What one study's finished trials were read, for one panel.

    It belongs to whoever holds ``lock``, from ``update`` to the decision.

    Args:
        panel: the readouts that are kept; a reading that lacks one of them is left out.
    """

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.lock = threading.RLock()
        self.twins = Twins(panel)
        self._forget()

    def update(self, trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
        """Take in the trials that have finished since; those that have not are returned."""
        unfinished = []
        for trial in trials:
            known = self.finished.get(trial.number)
            if known is None:
                if trial.state.is_finished():
                    self._add(trial)
                else:
                    unfinished.append(trial)
            elif known.datetime_complete != trial.datetime_complete:
                # The study was deleted and made anew: SQLite gives its ids away again.
                self._forget()
                return self.update(trials)
        return unfinished

    def readings(self, trial: FrozenTrial) -> Readings:
        """Step to oriented values of a trial's own readings."""
        return {
            step: self.panel.oriented(values)
            for step, values in values_by_step(trial).items()
            if not self.panel.lacking(values)
        }

    def _add(self, trial: FrozenTrial) -> None:
        readings = self.readings(trial)
        self.finished[trial.number] = self.twins.twin(trial, readings)
        chosen = self.complete if trial.state is TrialState.COMPLETE else self.ended
        chosen.add(trial.number, readings)

    def _forget(self) -> None:
        self.finished: dict[int, FrozenTrial] = {}
        self.complete = Population(len(self.panel))
        self.ended = Population(len(self.panel))


_memories: WeakKeyDictionary[BaseStorage, dict[tuple[int, Panel], Memory]] = WeakKeyDictionary()
_lock = threading.Lock()


def memory_of(study: Study, panel: Panel) -> Memory:
    """The memory that all pruners of a study with this panel share."""
    with _lock:
        memories = _memories.setdefault(study._storage, {})
        if (key := (study._study_id, panel)) not in memories:
            memories[key] = Memory(panel)
        return memories[key]
