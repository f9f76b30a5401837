"""Objective: brief training, pruning by readings and full training, for a whole search space."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from optuna.exceptions import TrialPruned
from optuna.study import StudyDirection
from optuna.trial import BaseTrial, Trial
from torch import nn

from prescreen.failures import CandidateFailed
from prescreen.integrations.optuna.attributes import write_attribute
from prescreen.integrations.optuna.costs import costs_of, require_costs, set_limits
from prescreen.integrations.optuna.recorder import Mirror, Recorder
from prescreen.integrations.optuna.versions import require_constraints
from prescreen.loggers import Log
from prescreen.random_state import forked
from prescreen.reading import Reading
from prescreen.readouts import Readouts
from prescreen.screening import Plan, Screening
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
    readouts: Readouts | None = None,
    readings: int = 4,
    head: str | None = None,
    mirror: Mirror = False,
    log: Log | None = None,
) -> Callable[[BaseTrial], float | tuple[float, ...]]:
    """A complete objective: sample a config, train it briefly, prune it or train it in full.

    A candidate that cannot be built or run, diverges or collapses is pruned. Optuna's log and the user
    attribute ``prescreen:<trial>:failure`` give the reason.

    Args:
        space: a search space, as in ``rank``.
        task: the training data and the probe batch.
        training: budget and recipe of brief training, in steps.
        value: the value of the objective: the name of a readout, for its score at the last reading
            (higher is better; the study's direction must be ``"maximize"``), or a function of the
            trained model, such as its validation accuracy, for any direction of the study. Its random
            draws begin with the training's seed.
        full_training: budget and recipe for trials that are not pruned, from new initial weights; None
            for brief training only. It ends with another reading.
        costs: returned after the value, to be minimized: ``"parameters"``, ``"flops"``.
        limits: largest allowed costs, set as constraints of the trial. A trial above one of them is
            pruned before it is trained. They need Optuna 5.
        readouts: names or a mapping; they must include those of the study's ``ReadoutPruner``. By
            default the task's, or ``DEFAULT_PANEL``.
        readings: how often a candidate is read during brief training.
        head: dotted name of the prediction head, if it is not found.
        mirror: show readings in optuna-dashboard; see ``Reader``.
        log: takes every reading; see ``Reader``.

    Returns:
        A function for ``study.optimize``.

    Raises:
        ValueError: an argument is not allowed.
    """
    plan = Plan(task, training or Training(), readouts, readings, head)
    full = None if full_training is None else replace(plan, training=full_training, readings=1)
    return Objective(
        space=resolve_space(space),
        plan=plan,
        full=full,
        value=value,
        costs=tuple(costs) if not isinstance(costs, str) else costs,
        limits=dict(limits or {}),
        mirror=mirror,
        log=log,
    )


@dataclass(frozen=True)
class Objective:
    """The function that ``objective`` returns; see there."""

    space: Space
    plan: Plan = field(repr=False)
    full: Plan | None = field(repr=False)
    value: Value
    costs: Sequence[str]
    limits: Mapping[str, float]
    mirror: Mirror = False
    log: Log | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        require_costs("costs", self.costs)
        require_costs("limits", tuple(self.limits))
        for name, limit in self.limits.items():
            if not limit > 0:
                raise ValueError(f"`limits` must be above 0, got {limit!r} for {name}")
        require_constraints(self.limits)
        names = ", ".join(self.plan.table)
        if isinstance(self.value, str) and self.value not in self.plan.table:
            raise ValueError(
                f"`value` must be a function or one of the readouts {names}, got {self.value!r}"
            )
        if not isinstance(self.value, str) and not callable(self.value):
            raise ValueError(f"`value` must be a function or a readout's name, got {self.value!r}")
        _require_steps("training", self.plan)
        if self.full is None:
            return
        _require_steps("full_training", self.full)
        brief, full = self.plan.training.steps, self.full.training.steps
        if full <= brief:
            raise ValueError(
                f"`full_training` must have more steps than brief training ({brief}), got {full}"
            )

    def __call__(self, trial: BaseTrial) -> float | tuple[float, ...]:
        """Run one trial.

        Raises:
            TrialPruned: the pruner, a limit or a failure of the candidate ends it.
            ValueError: the study does not fit the objective.
        """
        self._require_directions(trial)
        candidate, built = self._candidate(trial)
        recorder = Recorder(trial, self.plan.table, mirror=self.mirror, log=self.log)
        try:
            costs = costs_of(candidate, self.plan.task, (*self.costs, *self.limits))
            if not set_limits(trial, costs, self.limits):
                raise TrialPruned(f"over its limits: {costs}")
            begins = recorder.begins_untrained
            for reading in Screening(candidate, self.plan, begins_untrained=begins):
                recorder.store(reading)
                if recorder.should_prune():
                    raise TrialPruned(f"by its readings at step {reading.step}")
            if self.full is not None:
                # The last checkpoint is evaluated; a selector of checkpoints would go here.
                (reading,) = Screening(candidate, self.full)
                recorder.store(reading)
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

    def _value(self, reading: Reading, model: nn.Module) -> float:
        if isinstance(self.value, str):
            readout = self.plan.table[self.value]
            return readout.score(reading.values[self.value])
        # What it draws must depend neither on other trials nor, with threads, on their order.
        training = (self.full or self.plan).training
        device = torch.device(training.device)
        with forked([device] if device.type == "cuda" else [], training.seed):
            return float(self.value(model))

    def _require_directions(self, trial: BaseTrial) -> None:
        if not isinstance(trial, Trial):
            return
        directions = trial.study.directions
        if len(directions) != 1 + len(self.costs):
            raise ValueError(
                f"`directions` must be {1 + len(self.costs)} in number, for "
                f"{' and '.join(['the value', *self.costs])}, got {len(directions)}"
            )
        wanted = [
            StudyDirection.MAXIMIZE if isinstance(self.value, str) else directions[0],
            *(StudyDirection.MINIMIZE for _ in self.costs),
        ]
        if directions != wanted:
            raise ValueError(
                f"`directions` must be {', '.join(d.name.lower() for d in wanted)}, "
                f"got {', '.join(d.name.lower() for d in directions)}"
            )


def _require_steps(argument: str, plan: Plan) -> None:
    """Readings are compared at equal steps."""
    if plan.training.seconds is not None:
        raise ValueError(
            f"`{argument}` must have a budget in steps, got seconds={plan.training.seconds}"
        )
