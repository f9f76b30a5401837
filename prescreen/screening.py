"""Screening: a candidate is built, trained briefly and read at even distances."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from prescreen.captured import Capture
from prescreen.failures import CandidateFailed, failing_as
from prescreen.heads.find import find_heads
from prescreen.heads.preserve import preserve
from prescreen.panel import DEFAULT_PANEL
from prescreen.probe import Probe
from prescreen.reading import Reading
from prescreen.readouts import Readout, Readouts, resolve_readouts
from prescreen.spaces.candidate import Candidate
from prescreen.tasks.base import Task, check_task, seen_inputs
from prescreen.training.loop import BriefTraining
from prescreen.training.recipe import Training

Extra = Mapping[str, Callable[[nn.Module], float]]


@dataclass(frozen=True)
class Plan:
    """How candidates are screened, the same for all of them.

    Args:
        task: what to train on, and the probe batch.
        training: budget and recipe.
        readouts: names or a mapping, as in ``Probe``. Measures of the untrained network stand in every
            reading.
        readings: into how many equal parts readings divide the budget.
        head: dotted name of the head, where it cannot be found.
        extra: measurements of your own, by name: functions of the model, which they get in eval mode
            without gradients and cannot change. They stand in the readings beside the readouts.

    Raises:
        ValueError: ``task``, ``readouts``, ``readings`` or ``extra`` are not what is allowed.
    """

    task: Task
    training: Training = field(default_factory=Training)
    readouts: Readouts = DEFAULT_PANEL
    readings: int = 4
    head: str | None = None
    extra: Extra = field(default_factory=dict)
    table: dict[str, Readout] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_task(self.task)
        object.__setattr__(self, "table", resolve_readouts(self.readouts))
        if self.readings < 1:
            raise ValueError(f"`readings` must be at least 1, got {self.readings}")
        if twice := sorted(set(self.table) & set(self.extra)):
            raise ValueError(f"`extra` must have names that no readout has, got {', '.join(twice)}")


def screen(
    candidate: Candidate,
    task: Task,
    training: Training | None = None,
    readouts: Readouts = DEFAULT_PANEL,
    *,
    readings: int = 4,
    head: str | None = None,
    extra: Extra | None = None,
) -> Iterator[Reading]:
    """Build a candidate, train it briefly, and read it at even distances and at the end.

    Args:
        candidate: what to build.
        task: what to train on, and the probe batch.
        training: budget and recipe; ``Training()`` if None.
        readouts: as in `Plan`, and so are the others.
        readings: into how many equal parts readings divide the budget.
        head: dotted name of the head, where it cannot be found.
        extra: measurements of your own, by name.

    Yields:
        ``readings`` readings (fewer if there are fewer steps); the last one ends the budget.

    Raises:
        CandidateFailed: it cannot be built or run, runs out of memory, diverges, or at the end
            predicts one class for the whole probe batch. Readings already yielded stay valid.
        ValueError: ``readouts``, ``readings`` or ``extra`` are wrong, whatever the candidate.
    """
    plan = Plan(task, training or Training(), readouts, readings, head, extra or {})
    yield from Screening(candidate, plan)


class Screening:
    """What ``screen`` runs; between readings it can be saved, and resumed bit for bit.

    Args:
        candidate: what to build.
        plan: how it is screened.

    What it raises is what ``screen`` raises.
    """

    def __init__(self, candidate: Candidate, plan: Plan) -> None:
        self._candidate, self._plan = candidate, plan
        self._seconds = 0.0
        self._run = self._run_from(None)

    def __iter__(self) -> Screening:
        return self

    def __next__(self) -> Reading:
        return next(self._run)

    def state_dict(self) -> dict[str, Any]:
        """All that the next reading depends on, candidate and plan excepted."""
        return {
            "training": self._steps.state_dict(),
            "probe": self._probe.state_dict(),
            "done": self._done,
            "seconds": self._seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the reading at which the state was saved."""
        self._run = self._run_from(state)

    def _run_from(self, state: Mapping[str, Any] | None) -> Iterator[Reading]:
        plan, training = self._plan, self._plan.training
        start = time.perf_counter() - (state["seconds"] if state else 0.0)
        with failing_as("build"):
            model = build(self._candidate, plan)
            parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        self._probe, self._done = _probe(plan), 0
        if state is None:
            self._read_untrained(model)
        with failing_as("run"):
            self._steps = BriefTraining(model, plan.task, training)
            if state is not None:
                self._steps.load_state_dict(state["training"])
                self._probe.load_state_dict(state["probe"])
                self._done = state["done"]
            losses: list[float] = []
            predicted: float | None = None
            for step in self._steps:
                losses.append(step.loss)
                if step.diverged:
                    raise CandidateFailed("diverged", f"loss {step.loss} at step {step.number}")
                # The small term keeps rounding of the share from moving a reading by one step.
                due = math.floor(step.share * plan.readings + 1e-9)
                if due == self._done:
                    continue
                self._done = due
                reading, predicted = self._read(model, step.number)
                self._seconds = time.perf_counter() - start
                loss = math.fsum(losses) / len(losses)
                yield replace(
                    reading, seconds=self._seconds, training_loss=loss, parameters=parameters
                )
                losses.clear()
            if predicted is None:  # resumed where all had been read
                _, predicted = self._read(model, training.steps)
            if not math.isnan(predicted):
                reason = f"predicts class {predicted:.0f} for the whole probe batch"
                raise CandidateFailed("collapsed", reason)

    def _read_untrained(self, model: nn.Module) -> None:
        """Of the model before its first step, or of the larger one that the candidate has for it."""
        of_network = any(readout.of_network for readout in self._probe.readouts.values())
        if of_network and self._candidate.build_untrained is not None:
            with failing_as("build"):
                model = build(self._candidate, self._plan, untrained=True)
        with failing_as("run"):
            self._probe.read_untrained(model)

    def _read(self, model: nn.Module, step: int) -> tuple[Reading, float]:
        """A reading with the extra measurements, and the class that all samples are predicted as."""
        reading = self._probe.read(model, step)
        values = dict(reading.values)
        predicted = values.pop(_ONLY_CLASS)
        for name, function in self._plan.extra.items():
            with preserve(model, batch_statistics=False):
                values[name] = float(function(model))
        return replace(reading, values=values), predicted


def build(candidate: Candidate, plan: Plan, *, untrained: bool = False) -> nn.Module:
    """A candidate's network for a task, with the weights of the training's seed, on its device."""
    with torch.random.fork_rng([]):
        torch.manual_seed(plan.training.seed)
        model = candidate.model(untrained=untrained, **plan.task.sizes)
    return model.to(plan.training.device)


def require_head(candidates: Sequence[Candidate], plan: Plan) -> None:
    """Refuse a head that no candidate has; one that only some have is their failure, a result.

    Raises:
        ValueError: of all candidates that can be built, none has the head.
    """
    problem: ValueError | None = None
    for candidate in candidates:
        try:
            with failing_as("build"):
                model = build(candidate, plan)
        except CandidateFailed:
            continue
        try:
            find_heads(model, plan.head)
        except ValueError as error:
            problem = problem or error
        else:
            return
    if problem is not None:
        raise problem


# Read beside the panel: no name of a readout has a space.
_ONLY_CLASS = "only class"


def _only_class(capture: Capture) -> float:
    """The class that all samples are predicted as; NaN where there are several, or no classes."""
    if capture.link != "softmax" or len(predicted := capture.logits.argmax(1).unique()) > 1:
        return math.nan
    return predicted.item()


def _probe(plan: Plan) -> Probe:
    task = plan.task
    table = {**plan.table, _ONLY_CLASS: Readout(_only_class)}
    needs = {need for readout in table.values() for need in readout.needs}
    return Probe(
        task.probe,
        table,
        seen=seen_inputs(task) if "seen" in needs else None,
        view=task.views,
        head=plan.head,
        link=task.link,
    )
