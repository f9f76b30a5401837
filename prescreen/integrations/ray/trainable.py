"""Trainable: brief training, with readings, of the networks of a search space."""

from __future__ import annotations

import math
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from ray import tune

from prescreen.failures import CandidateFailed
from prescreen.integrations.ray.results import (
    FAILURE,
    PREFIX,
    SCORE,
    STEP,
    as_result,
    require_free_names,
)
from prescreen.reading import Reading
from prescreen.readouts import Readouts
from prescreen.screening import Extra, Plan, Screening
from prescreen.spaces.candidate import Candidate, builders
from prescreen.spaces.space import Space, resolve_space
from prescreen.tasks import Task, load_task
from prescreen.training.recipe import Training

_FILE = "screening.pt"

# Entries of a result apart from the readouts.
_OTHERS = ("training_loss", "parameters", "seconds")


def trainable(
    space: str | Path | ModuleType | Space,
    task: Task | str | Path,
    training: Training | None = None,
    readouts: Readouts | None = None,
    *,
    readings: int = 4,
    head: str | None = None,
    extra: Extra | None = None,
) -> type[tune.Trainable]:
    """A complete trainable: build a trial's config, train it briefly, read it, report.

    Every reading is a result: ``step``, ``prescreen/<readout>``, ``prescreen/score``, and
    ``training_loss``, ``parameters`` and ``seconds``. Every result, except that of a failure, has a
    checkpoint, from which a trial continues bit for bit on a CPU. With
    ``TuneConfig(reuse_actors=True)`` a worker process serves many trials.

    If a candidate cannot be built or run, runs out of memory, diverges or collapses, the readings of its
    last result are NaN and ``prescreen/failure`` gives the reason. This is not an error.

    Args:
        space: a search space, as in ``rank``; its config is the trial's.
        task: the training data and the probe batch, or an argument for ``load_task``. It goes through
            Ray's object store once.
        training: budget and recipe, in steps.
        readouts: names or a mapping, also of measures of the untrained network; the first is the score.
            By default the task's, or ``DEFAULT_PANEL``.
        readings: the number of readings; they divide the budget into equal parts.
        head: dotted name of the prediction head, if it is not found.
        extra: your own measurements, as in ``screen``, such as a validation accuracy. They are in the
            result under their own names.

    Returns:
        A class for ``Tuner`` and ``Tuner.restore``.

    Raises:
        ValueError: an argument is not allowed.
    """
    loaded = load_task(task) if isinstance(task, str | Path) else task
    plan = Plan(loaded, training or Training(), readouts, readings, head, extra or {})
    if plan.training.seconds is not None:  # readings are compared at equal steps
        raise ValueError(
            f"`training` must have a budget in steps, got seconds={plan.training.seconds}"
        )
    require_free_names(plan.table)
    if taken := [name for name in plan.extra if name in (STEP, PREFIX, *_OTHERS)]:
        raise ValueError(f"`extra` must have names that no result has, got {', '.join(taken)}")
    made: type[tune.Trainable] = tune.with_parameters(
        ScreeningTrainable, space=resolve_space(space), plan=plan
    )
    return made


class ScreeningTrainable(tune.Trainable):
    """The base of the class that ``trainable`` returns; one step goes to the next reading."""

    def setup(  # type: ignore[override]  # with_parameters adds the other two
        self, config: dict[str, Any], space: Space, plan: Plan
    ) -> None:
        """Begin the actor's first trial."""
        self._space, self._plan = space, plan
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in the same process."""
        candidate = Candidate(self.trial_name, {}, *builders(self._space, new_config))
        self._screening = Screening(candidate, self._plan)
        self._result: dict[str, Any] = {}
        self._failure = ""
        return True

    def step(self) -> dict[str, Any]:
        """Train to the next reading; the result says whether it was the last."""
        reading = None if self._failure else self._next_reading()
        if self._failure:
            return self._failed(self._failure)
        if reading is None:  # resumed after the last reading
            return {**self._result, "done": True}
        self._result = {
            **as_result(reading, self._plan.table, first=not self._result),
            **{name: reading.values[name] for name in self._plan.extra},
            **{name: getattr(reading, name) for name in _OTHERS},
        }
        return {
            **self._result,
            "should_checkpoint": True,
            "done": self._at_end(reading.step),
        }

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Save all that the next step depends on; Tune also asks for this after a failure."""
        screening = None if self._failure else self._screening.state_dict()
        state = {"screening": screening, "result": self._result, "failure": self._failure}
        torch.save(state, Path(checkpoint_dir) / _FILE)

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Continue from a checkpoint."""
        device = self._plan.training.device
        state = torch.load(Path(checkpoint) / _FILE, map_location=device, weights_only=True)
        self._result, self._failure = state["result"], state["failure"]
        if not self._failure:
            self._screening.load_state_dict(state["screening"])

    def _next_reading(self) -> Reading | None:
        try:
            return next(self._screening, None)
        except CandidateFailed as failure:
            self._failure = str(failure)
            return None

    def _at_end(self, step: int) -> bool:
        """Whether this was the last reading; a failure found at the end is the next result."""
        if step < self._plan.training.steps:
            return False
        self._next_reading()
        return not self._failure

    def _failed(self, failure: str) -> dict[str, Any]:
        nan = Reading(self._result.get(STEP, 0), dict.fromkeys(self._plan.table, math.nan))
        result = as_result(nan, self._plan.table, first=False)
        result[PREFIX].update({SCORE: -math.inf, FAILURE: failure})
        return {**result, **dict.fromkeys(self._plan.extra, math.nan), "done": True}
