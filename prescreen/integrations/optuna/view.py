"""View: the study as a stock pruner should see it, with scores in place of reported values."""

from __future__ import annotations

import copy
from collections.abc import Container
from typing import Any

from optuna.storages import BaseStorage
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from prescreen.integrations.optuna.memory import Memory
from prescreen.integrations.optuna.scores import Scores
from prescreen.integrations.optuna.twins import RUNG, Twins


class StudyView:
    """A thin stand-in for a study: its own direction, twins for trials, its storage guarded.

    Ids and storage are the real ones, so that a pruner that keeps notes in the storage finds them.
    A view is valid while its maker holds the memory's lock.

    Args:
        study: the real study.
        judged: the trial that is judged, which may know more than the storage's copy of it.
        memory: of the study; it is brought up to date.
        everyone: rank among trials of every state; see ``Scores``.
    """

    def __init__(
        self, study: Study, judged: FrozenTrial, memory: Memory, *, everyone: bool
    ) -> None:
        self._study = study
        self._memory = memory
        self._real = study.get_trials(deepcopy=False)
        unfinished = {trial.number: trial for trial in memory.update(self._real)}
        unfinished[judged.number] = judged
        readings = {number: memory.readings(trial) for number, trial in unfinished.items()}
        twins = memory.twins
        twins.ranking = Scores(memory, readings, judged.number, everyone=everyone)
        self._twins = {
            number: twins.twin(trial, readings[number]) for number, trial in unfinished.items()
        }
        self.judged = self._twins[judged.number]
        step = max(readings[judged.number], default=None)
        self._storage = _StorageView(study._storage, twins, judged.number, step)
        higher = len(memory.panel) > 1 or memory.panel.higher_is_better[0]
        self.direction = StudyDirection.MAXIMIZE if higher else StudyDirection.MINIMIZE
        self.directions = self._directions = [self.direction]
        self.objective_directions = study.directions

    def __getattr__(self, name: str) -> Any:
        # Asked for only where it is not defined here.
        return getattr(self._study, name)

    def _is_multi_objective(self) -> bool:
        return False

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials."""
        return self.get_trials()

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Twins of the trials, as ``Study.get_trials`` gives the trials themselves."""
        finished, unfinished = self._memory.finished, self._twins
        twins = [finished.get(t.number) or unfinished[t.number] for t in self._real]
        chosen = [twin for twin in twins if states is None or twin.state in states]
        return [self._apart(twin) for twin in chosen] if deepcopy else chosen

    @property
    def best_trial(self) -> FrozenTrial:
        """The best trial by the study's objective; with several, by its last score.

        Raises:
            ValueError: no trial has completed.
        """
        if len(self._study.directions) == 1:
            return self._memory.finished[self._study.best_trial.number]
        sign = 1 if self.direction is StudyDirection.MAXIMIZE else -1
        complete = self.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        read = [trial for trial in complete if trial.last_step is not None]
        if not read:
            raise ValueError("study: a completed trial with a reading is needed, got none")
        return max(read, key=lambda trial: sign * trial.intermediate_values[trial.last_step or 0])

    def rehearsal(self) -> StudyView:
        """The same view, in which nothing that a pruner notes reaches the storage."""
        twin = object.__new__(StudyView)
        twin.__dict__.update(self.__dict__)
        twin._storage = _StorageView(self._study._storage, self._memory.twins, 0, None)
        return twin

    def as_it_was(self, finished: FrozenTrial, step: int) -> FrozenTrial:
        """The twin of a finished trial at the time of its reading at ``step``."""
        real = self._real[finished.number]
        return self._memory.twins.twin(real, self._memory.readings(real), before=step)

    def _apart(self, twin: FrozenTrial) -> FrozenTrial:
        """A twin that may be changed."""
        scores, attributes = dict(twin.intermediate_values), twin.system_attrs
        plain = object.__new__(FrozenTrial)
        plain.__dict__.update(twin.__dict__)
        plain.intermediate_values = scores
        plain.system_attrs = {}
        plain = copy.deepcopy(plain)
        plain.system_attrs = attributes
        return plain


class _StorageView:
    """The real storage, except that a rung is noted as the step at which it was completed.

    Args:
        storage: the real one.
        twins: knows what rungs are called there.
        number: of the trial that is judged.
        step: of its latest reading; None to note nothing at all.
    """

    def __init__(self, storage: BaseStorage, twins: Twins, number: int, step: int | None) -> None:
        self._storage = storage
        self._twins = twins
        self._number = number
        self._step = step

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """Store a trial's attribute."""
        if self._step is None:
            return
        if key.startswith(RUNG):
            key, value = self._twins.rung_key(self._number, key), self._step
        self._storage.set_trial_system_attr(trial_id, key, value)
