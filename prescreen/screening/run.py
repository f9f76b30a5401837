"""Run: the iterator over the readings of one candidate."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn

from prescreen.checks import require_kind
from prescreen.failures import CandidateFailed, failing_as
from prescreen.heads.preserve import preserve
from prescreen.part import Subjects
from prescreen.reading import Reading
from prescreen.readouts import Readouts
from prescreen.readouts.committee import packed
from prescreen.readouts.parts import replicates
from prescreen.screening.deadline import Deadline
from prescreen.screening.losses import Losses
from prescreen.screening.memory import MemoryLimit
from prescreen.screening.plan import Extra, Plan, build
from prescreen.screening.probing import ONLY_CLASS, probe_of
from prescreen.screening.surroundings import Surroundings, set_random_state
from prescreen.spaces.candidate import Candidate
from prescreen.tasks.base import Task, parts_of
from prescreen.text import showing
from prescreen.training.loop import BriefTraining
from prescreen.training.recipe import Training
from prescreen.trees import count_samples


def screen(
    candidate: Candidate,
    task: Task,
    training: Training | None = None,
    readouts: Readouts | None = None,
    *,
    readings: int = 4,
    head: str | None = None,
    extra: Extra | None = None,
) -> Iterator[Reading]:
    """Build a candidate, train it briefly, and read it at even intervals, the last time at the end.

    Args:
        candidate: the candidate to build.
        task: the training data and the probe batch.
        training: budget and recipe; ``Training()`` if None.
        readouts: names or a mapping, as in `Plan`; by default the task's, or ``DEFAULT_PANEL``.
        readings: the number of readings; they divide the budget into equal parts.
        head: dotted name of the head, if it is not found.
        extra: your own measurements by name, as in `Plan`.

    Returns:
        An iterator over ``readings`` readings, or fewer if there are fewer steps; the last one is at
        the end. Arguments are checked at once, the candidate is built at the first reading.

    Raises:
        CandidateFailed: from the iterator, if the candidate cannot be built or run, runs out of
            memory, diverges, or at the end predicts one class for the whole probe batch (unless the
            task says otherwise: ``collapses``). Earlier readings stay valid.
        ValueError: an argument is not allowed.
    """
    made = Training() if training is None else training
    return Screening(
        candidate, Plan(task, made, readouts, readings, head, {} if extra is None else extra)
    )


class Screening:
    """The iterator behind ``screen``; between readings it can be saved and resumed bit for bit.

    Args:
        candidate: the candidate to build.
        plan: how it is screened.
        begins_untrained: whether a reading at step 0 comes first, if the panel has measures of the
            untrained network; all else is NaN then. It cannot be saved there.
        until: the number of the reading after which it pauses, if that is not the last one. It can be
            saved then, and resumed with a later one.

    Attributes:
        paused: whether it has ended there.

    Raises:
        CandidateFailed: as ``screen`` does.
        ValueError: ``candidate`` is not a Candidate.
    """

    __repr__ = showing(candidate="_candidate")

    def __init__(
        self,
        candidate: Candidate,
        plan: Plan,
        *,
        begins_untrained: bool = False,
        until: int | None = None,
    ) -> None:
        require_kind("candidate", candidate, Candidate)
        self._candidate, self._plan = candidate, plan
        self._begins_untrained, self._until = begins_untrained, until
        self._seconds = 0.0
        self._begin(None)

    def __iter__(self) -> Screening:
        return self

    def __next__(self) -> Reading:
        with self._surroundings.entered(), failing_as("run"), self._memory.active():
            try:
                with self._deadline:
                    reading = next(self._run, None)
            finally:
                self._deadline.__exit__()  # it may have rung while it was being left
        if reading is None:
            raise StopIteration
        return reading

    def state_dict(self) -> dict[str, Any]:
        """All that the next reading depends on, except candidate and plan."""
        return {
            "training": self._steps.state_dict(),
            "probe": self._probe.state_dict(),
            "done": self._done,
            "seconds": self._seconds,
            "losses": self._losses,
            "random": self._surroundings.random_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue after the reading at which the state was saved.

        Raises:
            ValueError: the state was saved by another version of prescreen.
        """
        if missing := {"training", "probe", "done", "seconds"} - set(state):
            raise ValueError(
                f"`state` must be one that this version saved, got one without {sorted(missing)}"
            )
        self._begin(state)

    def _begin(self, state: Mapping[str, Any] | None) -> None:
        self._probe, self._done = probe_of(self._plan), 0  # its errors are not the candidate's
        self._losses: list[float] = []  # of all steps, if a readout needs them
        self._surroundings = Surroundings(self._plan.training.seed)
        self._memory = MemoryLimit(self._plan.memory)
        self._deadline = Deadline(self._plan.timeout, state["seconds"] if state else 0.0)
        self.paused = False
        self._run = self._run_from(state)

    def _run_from(self, state: Mapping[str, Any] | None) -> Iterator[Reading]:
        plan, training = self._plan, self._plan.training
        start = time.perf_counter() - (state["seconds"] if state else 0.0)
        with failing_as("build"):
            model = build(self._candidate, plan)
            parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        if state is None:
            plan.limits.check(model, plan.task.probe, training.device)
            self._read_untrained(model)
            if self._begins_untrained and (reading := self._probe.before_training) is not None:
                nan = dict.fromkeys((*plan.table, *plan.extra), math.nan)
                values = {name: reading.values.get(name, none) for name, none in nan.items()}
                yield replace(reading, values=values, parameters=parameters)
        self._steps = BriefTraining(model, plan.task, training)
        if state is not None:
            self._steps.load_state_dict(state["training"])
            self._probe.load_state_dict(state["probe"])
            self._done = state["done"]
            self._losses = [*state.get("losses", [])]
            set_random_state(state.get("random", {}))
        keep = bool(plan.needing("losses"))
        losses = Losses(wait=not self._steps.is_asynchronous)
        predicted: float | None = None
        for step in self._steps:
            losses.add(step)
            self._deadline.check()
            # Without the small term, rounding of the share could move a reading by one step.
            due = math.floor(step.share * plan.readings + 1e-9)
            if due == self._done:
                continue
            since = losses.take()
            self._losses += since if keep else []
            self._done = due
            compared = plan.ranking and (due >= plan.readings or due in plan.rungs)
            reading, predicted = self._read(model, step.number, compared)
            self._seconds = time.perf_counter() - start
            loss = math.fsum(since) / len(since)
            reading = replace(reading, training_loss=loss, execution=str(self._steps.execution))
            yield replace(reading, seconds=self._seconds, parameters=parameters)
            if self._until is not None and self._until <= due and step.share < 1:
                self.paused = True
                return
        if predicted is None:  # resumed after the last reading
            _, predicted = self._read(model, training.steps)
        if not math.isnan(predicted) and getattr(plan.task, "collapses", True):
            reason = f"predicts class {predicted:.0f} for the whole probe batch"
            raise CandidateFailed("collapsed", reason)

    def _read_untrained(self, model: nn.Module) -> None:
        """Measure the model before its first step, or the candidate's network for these measures."""
        of_network = any(readout.of_network for readout in self._probe.readouts.values())
        if of_network and self._candidate.build_untrained is not None:
            with failing_as("build"):
                model = build(self._candidate, self._plan, untrained=True)
        self._probe.read_untrained(model)

    def _read(self, model: nn.Module, step: int, compared: bool = False) -> tuple[Reading, float]:
        """A reading with the extra measurements, and the only class predicted, if there is one."""
        noted: dict[str, Any] = {}
        look = partial(_note, self._plan, noted) if compared else None
        reading = replace(self._probe.read(model, step, look), **noted)
        predicted = reading.values.get(ONLY_CLASS, math.nan)
        late = {n: one(self._losses) for n, one in self._plan.needing("losses").items()}
        made = {**reading.values, **late}
        values = {name: made[name] for name in self._plan.table if name in made}
        for name, function in self._plan.extra.items():
            with preserve(model, batch_statistics=False):
                values[name] = float(function(model))
        return replace(reading, values=values), predicted


def _note(plan: Plan, noted: dict[str, Any], subjects: Mapping[str, Subjects]) -> None:
    """Note what candidates are compared by: how readings vary with the probe, and predictions."""
    samples = count_samples(plan.task.probe)
    parts = parts_of(plan.task)
    noted["replicates"] = {}
    for name, own in subjects.items():
        table = {key: one for key, one in plan.table.items() if one.part == name}
        start, stop = parts[name].share
        noted["replicates"] |= replicates(table, own, max(1, round((stop - start) * samples)))
    if plan.needing("others"):
        noted["predictions"] = packed(subjects[""]["head"])
