"""Objective: brief training, pruning by readings and full training, over a whole search space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from optuna.exceptions import TrialPruned
from optuna.study import StudyDirection
from optuna.trial import BaseTrial, Trial
from torch import nn

from prescreen.failures import CandidateFailed
from prescreen.integrations.optuna.attributes import write_attribute
from prescreen.integrations.optuna.costs import costs_of, require_costs, set_limits
from prescreen.integrations.optuna.recorder import Recorder
from prescreen.panel import DEFAULT_PANEL
from prescreen.reading import Reading
from prescreen.readouts import Readout, Readouts, resolve_readouts
from prescreen.screening import screen
from prescreen.spaces.candidate import Candidate, candidate_of
from prescreen.spaces.space import Space, resolve_space
from prescreen.tasks import Task
from prescreen.training.recipe import Training

Value = str | Callable[[nn.Module], float]


def objective(
    space: str | Path | ModuleType | Space,
    task: Task,
    training: Training | None = None,
    *,
    value: Value,
    full_training: Training | None = None,
    costs: Sequence[str] = (),
    limits: Mapping[str, float] | None = None,
    readouts: Readouts = DEFAULT_PANEL,
    readings: int = 4,
    head: str | None = None,
) -> Callable[[BaseTrial], float | tuple[float, ...]]:
    """A complete objective: sample a config, train it briefly, prune it or train it in full.

    A candidate that cannot be built or run, diverges or collapses is pruned; Optuna's log and the
    user attribute ``prescreen:<trial>:failure`` say why.

    Args:
        space: a search space, as in ``rank``.
        task: what to train on, and the probe batch.
        training: budget and recipe of brief training, in steps.
        value: what the objective returns. The name of a readout: its score (higher is better, the
            study's direction must be ``"maximize"``) at the last reading. Or a function of the
            trained model, such as its validation accuracy; the study's direction is then your own.
        full_training: budget and recipe for trials that were not pruned, from new initial weights;
            None to leave it at brief training. It ends with one more reading.
        costs: what is returned after the value, to be minimized: ``"parameters"``, ``"flops"``.
        limits: largest allowed costs, set as constraints of the trial. A trial above one is pruned
            before it is trained.
        readouts: what is read; those that the study's ``ReadoutPruner`` looks at must be among them.
        readings: how often a candidate is read during brief training.
        head: dotted name of the prediction head, where it cannot be found.

    Returns:
        What ``study.optimize`` takes.

    Raises:
        ValueError: an argument is not what is allowed.
    """
    return Objective(
        space=resolve_space(space),
        task=task,
        training=training or Training(),
        value=value,
        full_training=full_training,
        costs=tuple(costs) if not isinstance(costs, str) else costs,
        limits=dict(limits or {}),
        readouts=resolve_readouts(readouts),
        readings=readings,
        head=head,
    )


@dataclass(frozen=True)
class Objective:
    """What ``objective`` returns; its arguments are described there."""

    space: Space
    task: Task
    training: Training
    value: Value
    full_training: Training | None
    costs: Sequence[str]
    limits: Mapping[str, float]
    readouts: Mapping[str, Readout] = field(repr=False)
    readings: int
    head: str | None

    def __post_init__(self) -> None:
        require_costs("costs", self.costs)
        require_costs("limits", tuple(self.limits))
        for name, limit in self.limits.items():
            if not limit > 0:
                raise ValueError(f"limits: a number above 0 is needed for {name}, got {limit!r}")
        if isinstance(self.value, str) and self.value not in self.readouts:
            raise ValueError(
                f"value: a function or one of the readouts {', '.join(self.readouts)} is needed, "
                f"got {self.value!r}"
            )
        if not isinstance(self.value, str) and not callable(self.value):
            raise ValueError(f"value: a function or a readout's name is needed, got {self.value!r}")
        if self.readings < 1:
            raise ValueError(f"readings: at least 1 is needed, got {self.readings}")
        for name, training in (("training", self.training), ("full_training", self.full_training)):
            # Readings are compared at equal steps.
            if training is not None and training.seconds is not None:
                raise ValueError(
                    f"{name}: a budget in steps is needed, got seconds={training.seconds}"
                )
        if self.full_training is not None and self.full_training.steps <= self.training.steps:
            raise ValueError(
                f"full_training: more than the {self.training.steps} steps of brief training are "
                f"needed, got {self.full_training.steps}"
            )

    def __call__(self, trial: BaseTrial) -> float | tuple[float, ...]:
        """Run one trial.

        Raises:
            TrialPruned: the pruner, a limit or the candidate's own failure ends it.
            ValueError: the study does not fit the objective.
        """
        self._require_directions(trial)
        candidate, built = self._candidate(trial)
        recorder = Recorder(trial, self.readouts)
        try:
            costs = costs_of(candidate, self.task, (*self.costs, *self.limits))
            if not set_limits(trial, costs, self.limits):
                raise TrialPruned(f"over its limits: {costs}")
            reading = self._train_briefly(candidate, recorder)
            if self.full_training is not None:
                reading = self._train_fully(candidate, recorder, self.full_training)
        except CandidateFailed as failure:
            write_attribute(trial, "failure", str(failure))
            raise TrialPruned(str(failure)) from failure
        value = self._value(reading, built[-1])
        return (value, *(costs[name] for name in self.costs)) if self.costs else value

    def _candidate(self, trial: BaseTrial) -> tuple[Candidate, list[nn.Module]]:
        config = self.space.sample(trial)
        built: list[nn.Module] = []

        def build(**sizes: Any) -> nn.Module:
            built[:] = [self.space.build(config, **sizes)]
            return built[0]

        candidate = candidate_of(self.space, config)
        return replace(candidate, name=f"trial {trial.number}", build=build), built

    def _train_briefly(self, candidate: Candidate, recorder: Recorder) -> Reading:
        for reading in screen(
            candidate,
            self.task,
            self.training,
            self.readouts,
            readings=self.readings,
            head=self.head,
        ):
            recorder.store(reading)
            if recorder.should_prune():
                raise TrialPruned(f"by its readings at step {reading.step}")
        return reading

    def _train_fully(self, candidate: Candidate, recorder: Recorder, training: Training) -> Reading:
        """The checkpoint that is evaluated is the last one; a selector of checkpoints goes here."""
        (reading,) = screen(
            candidate, self.task, training, self.readouts, readings=1, head=self.head
        )
        recorder.store(reading)
        return reading

    def _value(self, reading: Reading, model: nn.Module) -> float:
        if isinstance(self.value, str):
            return self.readouts[self.value].score(reading.values[self.value])
        return float(self.value(model))

    def _require_directions(self, trial: BaseTrial) -> None:
        if not isinstance(trial, Trial):
            return
        directions = trial.study.directions
        if len(directions) != 1 + len(self.costs):
            raise ValueError(
                f"directions: {1 + len(self.costs)} are needed for the value and "
                f"{', '.join(self.costs) or 'no cost'}, got {len(directions)}"
            )
        wanted = [
            StudyDirection.MAXIMIZE if isinstance(self.value, str) else directions[0],
            *(StudyDirection.MINIMIZE for _ in self.costs),
        ]
        if directions != wanted:
            raise ValueError(
                f"directions: {', '.join(d.name.lower() for d in wanted)} are needed, "
                f"got {', '.join(d.name.lower() for d in directions)}"
            )
