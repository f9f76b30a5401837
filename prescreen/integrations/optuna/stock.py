"""Stock: Optuna's pruners, and others in the same form, that judge readings like reported values."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Mapping
from typing import Any

import numpy as np
from optuna.pruners import BasePruner, HyperbandPruner, SuccessiveHalvingPruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from prescreen.integrations.optuna.composition import parts
from prescreen.pruning import Guard, Population, Reason
from prescreen.pruning.decision import intolerable, too_few, untrusted
from prescreen.pruning.hindsight import ended_best, hindsight

# Scores are computed in two ways: rounding makes those of equal readings equal.
_DECIMALS = 12


def require_stock(pruner: BasePruner) -> None:
    """Refuse pruners that note scores in the storage, because ranks change as trials come in.

    Raises:
        ValueError: successive halving or Hyperband, alone or inside another pruner.
    """
    for part in parts(pruner):
        if isinstance(part, SuccessiveHalvingPruner | HyperbandPruner):
            raise ValueError(
                "`rule` must be Halving(grace_period, reduction_factor) for successive halving by "
                f"readings, got {type(part).__name__}"
            )


def judge_by(
    base: BasePruner, guard: Guard, population: Population, study: Study, trial: FrozenTrial
) -> Reason:
    """Whether a trial should end, and why: ``prescreen.pruning.judge`` with a pruner as the rule.

    Args:
        base: the pruner; it is asked first, as it may keep notes.
        guard: whether it is trusted.
        population: the study's readings, including the trial's.
        study: the real study.
        trial: the trial in question.
    """
    shown = StudyOfReadings(study, trial, population)
    step, name = population.steps(trial.number)[-1], type(base).__name__
    if shown.is_undefined(trial.number, step):
        return Reason("undefined", f"the only readout is not defined at step {step}")
    prunes = base.prune(shown, shown.twin(trial))  # type: ignore[arg-type]
    return (
        too_few(guard, len(population.completed(step)), step)
        or (None if prunes else Reason("good", f"good enough for {name} at step {step}"))
        or untrusted(guard, population, step)
        or _intolerant(base, guard, shown, step)
        or Reason("poor", f"poor for {name} at step {step}")
    )


def _intolerant(base: BasePruner, guard: Guard, shown: StudyOfReadings, step: int) -> Reason | None:
    """Why the pruner is not trusted, by what it would have done to completed trials."""
    if guard.max_false_prune is None:
        return None
    population = shown.population
    complete = {
        trial.number: trial for trial in shown.get_trials(False, (TrialState.COMPLETE,))
    }  # fmt: skip
    objectives = {
        number: objective
        for number in population.completed(step).members
        if (objective := population.objective(number))
        and number in complete
        and not shown.is_undefined(number, step)
    }
    sign = 1 if shown.direction is StudyDirection.MAXIMIZE else -1
    numbers = list(objectives)
    scores = np.array([sign * shown.score(number, step) for number in numbers])
    best = ended_best(list(objectives.values()), guard.best_share)

    def prunes(index: int) -> bool:
        as_it_was = shown.twin(complete[numbers[index]], until=step)
        return base.prune(shown, as_it_was)  # type: ignore[arg-type]

    return intolerable(guard, *hindsight(scores, best, prunes))


class StudyOfReadings:
    """A stand-in for a study, whose trials have scores of readings as their reported values.

    With one readout the score is its value, in its own direction. With several it is the mean rank of a
    reading among those of the completed trials at the same step, from 0 to 1, to be maximized. The
    trial in question is ranked among the same trials at all steps. All else is as in the study.

    Args:
        study: the real study.
        judged: the trial in question.
        population: the study's readings.
    """

    def __init__(self, study: Study, judged: FrozenTrial, population: Population) -> None:
        self._study = study
        self._judged = judged.number
        self._ranked: dict[int, dict[int, float]] = {}
        self._twins: dict[int, FrozenTrial] = {}
        self.population = population
        higher = len(population.panel) > 1 or population.panel.higher_is_better[0]
        self.direction = StudyDirection.MAXIMIZE if higher else StudyDirection.MINIMIZE
        self.directions = [self.direction]

    def __getattr__(self, name: str) -> Any:
        # Called only for attributes that are not defined here.
        return getattr(self._study, name)

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials."""
        return self.get_trials()

    def get_trials(
        self, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """The trials that ``Study.get_trials`` gives, with scores."""
        trials = self._study.get_trials(deepcopy, states)
        if not deepcopy:
            return [self._twins.get(trial.number) or self.twin(trial) for trial in trials]
        for trial in trials:
            trial.intermediate_values = dict(_Scores(self, trial.number))
        return trials

    @property
    def best_trial(self) -> FrozenTrial:
        """The best trial by the study's objective or, if there are several, by its last score.

        Raises:
            ValueError: no trial has completed.
        """
        if len(self._study.directions) == 1:
            return self.twin(self._study.best_trial)
        sign = 1 if self.direction is StudyDirection.MAXIMIZE else -1
        complete = self.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        read = [trial for trial in complete if trial.last_step is not None]
        if not read:
            raise ValueError("`study` must have a completed trial with a reading, got none")
        lasts = {t.number: sign * t.intermediate_values[t.last_step or 0] for t in read}
        return max(read, key=lambda t: np.nan_to_num(lasts[t.number], nan=-np.inf))

    def twin(self, trial: FrozenTrial, until: int | None = None) -> FrozenTrial:
        """A trial with scores; with ``until``, as it was at its reading at that step."""
        twin = object.__new__(FrozenTrial)  # several times as fast as copy.copy
        twin.__dict__.update(trial.__dict__)
        twin.intermediate_values = _Scores(self, trial.number, until)  # type: ignore[assignment]
        if until is None:
            self._twins[trial.number] = twin
        return twin

    def score(self, number: int, step: int) -> float:
        """The score of a trial's reading."""
        if len(self.population.panel) == 1:
            return self.population.published(number, step)
        if number != self._judged:
            if step not in self._ranked:
                self._ranked[step] = self._rank(step)
            if (score := self._ranked[step].get(number)) is not None:
                return score
        reading = self.population.reading(number, step)
        return round(self.population.completed(step).score(reading), _DECIMALS)

    def is_undefined(self, number: int, step: int) -> bool:
        """Whether a trial's reading has no score because its only readout does not apply."""
        return len(self.population.panel) == 1 and math.isnan(self.score(number, step))

    def _rank(self, step: int) -> dict[int, float]:
        """Scores of the completed trials, ranked together with the trial in question."""
        column, among = self.population.completed(step), None
        if self.population.was_read(self._judged, step):
            among = self.population.reading(self._judged, step)
        return dict(
            zip(column.members, column.scores(among).round(_DECIMALS).tolist(), strict=True)
        )


class _Scores(Mapping[int, float]):
    """A trial's step-to-score table, computed when read: ranking everything would take longest."""

    __slots__ = ("_number", "_study", "_until")

    def __init__(self, study: StudyOfReadings, number: int, until: int | None = None) -> None:
        self._study = study
        self._number = number
        self._until = until

    def __getitem__(self, step: int) -> float:
        if step not in self:
            raise KeyError(step)
        return self._study.score(self._number, step)

    def __contains__(self, step: Any) -> bool:  # NumPy's integers among them
        if self._until is not None and step > self._until:
            return False
        return self._study.population.was_read(self._number, step)

    def __iter__(self) -> Iterator[int]:
        return (step for step in self._study.population.steps(self._number) if step in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)
