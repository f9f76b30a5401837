"""Screening: brief training with readings in between; the only file that wires the parts together."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from prescreen.captured import Capture
from prescreen.failures import CandidateFailed, failing_as
from prescreen.heads.capturing import capture
from prescreen.heads.find import find_heads
from prescreen.heads.preserve import preserve
from prescreen.measuring import Readouts, resolve_readouts, split
from prescreen.panel import DEFAULT_PANEL
from prescreen.reading import Reading
from prescreen.spaces.candidate import Candidate
from prescreen.tasks.base import Task, check_task, to_device
from prescreen.training.loop import BriefTraining
from prescreen.training.recipe import Training

Extra = Mapping[str, Callable[[nn.Module], float]]


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
    """Build a candidate, train it briefly, and read its head at even distances and at the end.

    Args:
        candidate: what to build.
        task: what to train on, and the probe batch.
        training: budget and recipe; ``Training()`` if None.
        readouts: names or a mapping, as in ``read``, and measures of the untrained network (see
            ``UNTRAINED``), which stand in every reading.
        readings: into how many equal parts readings divide the budget.
        head: dotted name of the head, where it cannot be found.
        extra: measurements of your own, by name: functions of the model, which they get in eval
            mode without gradients and cannot change. They stand in the readings beside the readouts.

    Yields:
        ``readings`` readings (fewer if there are fewer steps); the last one ends the budget.

    Raises:
        CandidateFailed: it cannot be built or run, runs out of memory, diverges, or at the end
            predicts one class for the whole probe batch. Readings already yielded stay valid.
        ValueError: ``readouts``, ``readings`` or ``extra`` are wrong, whatever the candidate.
    """
    yield from Screening(
        candidate, task, training, readouts, readings=readings, head=head, extra=extra
    )


class Screening:
    """What ``screen`` runs; between readings it can be saved, and resumed bit for bit.

    Its arguments, and what it raises, are those of ``screen``.
    """

    def __init__(
        self,
        candidate: Candidate,
        task: Task,
        training: Training | None = None,
        readouts: Readouts = DEFAULT_PANEL,
        *,
        readings: int = 4,
        head: str | None = None,
        extra: Extra | None = None,
    ) -> None:
        self._of_network, self._of_head = split(table := resolve_readouts(readouts))
        if readings < 1:
            raise ValueError(f"readings: at least 1 is needed, got {readings}")
        if twice := sorted(set(table) & set(extra or {})):
            raise ValueError(f"extra: names that no readout has are needed, got {', '.join(twice)}")
        self._candidate, self._task = candidate, check_task(task)
        self._training = training or Training()
        self._readings, self._head, self._extra = readings, head, extra or {}
        self._seconds = 0.0
        self._run = self._run_from(None)

    def __iter__(self) -> Screening:
        return self

    def __next__(self) -> Reading:
        return next(self._run)

    def state_dict(self) -> dict[str, Any]:
        """All that the next reading depends on, candidate and task excepted."""
        return {
            "training": self._steps.state_dict(),
            "untrained": self._untrained,
            "done": self._done,
            "seconds": self._seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the reading at which the state was saved."""
        self._run = self._run_from(state)

    def _run_from(self, state: Mapping[str, Any] | None) -> Iterator[Reading]:
        candidate, task, training = self._candidate, self._task, self._training
        start = time.perf_counter() - (state["seconds"] if state else 0.0)
        with failing_as("build"):
            model = build(candidate, task, training)
            parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
        if state is None:
            self._untrained = self._measure_untrained(model)
            self._done = 0
        with failing_as("run"):
            probe = to_device(task.probe, training.device)
            self._steps = BriefTraining(model, task, training)
            if state is not None:
                self._steps.load_state_dict(state["training"])
                self._untrained, self._done = state["untrained"], state["done"]
            losses: list[float] = []
            taken: Capture | None = None
            for step in self._steps:
                losses.append(step.loss)
                if step.diverged:
                    raise CandidateFailed("diverged", f"loss {step.loss} at step {step.number}")
                # The small term keeps rounding of the share from moving a reading by one step.
                due = math.floor(step.share * self._readings + 1e-9)
                if due == self._done:
                    continue
                self._done = due
                taken = capture(model, probe, head=self._head, link=task.link)
                values = self._values(model, taken)
                self._seconds = time.perf_counter() - start
                loss = math.fsum(losses) / len(losses)
                yield Reading(step.number, values, self._seconds, loss, parameters)
                losses.clear()
            if taken is None:  # resumed where all had been read
                taken = capture(model, probe, head=self._head, link=task.link)
            _require_unlike_predictions(taken)

    def _measure_untrained(self, model: nn.Module) -> dict[str, float]:
        """Of the model before its first step, or of the larger one that the candidate has for it."""
        candidate, task, training = self._candidate, self._task, self._training
        if self._of_network and candidate.build_untrained is not None:
            with failing_as("build"):
                model = build(candidate, task, training, untrained=True)
        with failing_as("run"):
            probe = to_device(task.probe, training.device)
            return {name: one(model, probe, self._head) for name, one in self._of_network.items()}

    def _values(self, model: nn.Module, taken: Capture) -> dict[str, float]:
        values = self._untrained | {name: readout(taken) for name, readout in self._of_head.items()}
        for name, function in self._extra.items():
            with preserve(model, batch_statistics=False):
                values[name] = float(function(model))
        return values


def require_head(
    candidates: Sequence[Candidate], task: Task, training: Training, head: str
) -> None:
    """Refuse a head that no candidate has; one that only some have is their failure, a result.

    Raises:
        ValueError: of all candidates that can be built, none has the head.
    """
    problem: ValueError | None = None
    for candidate in candidates:
        try:
            with failing_as("build"):
                model = build(candidate, task, training)
        except CandidateFailed:
            continue
        try:
            find_heads(model, head)
        except ValueError as error:
            problem = problem or error
        else:
            return
    if problem is not None:
        raise problem


def build(
    candidate: Candidate, task: Task, training: Training, *, untrained: bool = False
) -> nn.Module:
    """A candidate's network for a task, with the weights of the training's seed, on its device."""
    with torch.random.fork_rng([]):
        torch.manual_seed(training.seed)
        model = candidate.model(untrained=untrained, **task.sizes)
    return model.to(training.device)


def _require_unlike_predictions(taken: Capture) -> None:
    if taken.link == "softmax" and len(predicted := taken.logits.argmax(1).unique()) == 1:
        raise CandidateFailed(
            "collapsed",
            f"predicts class {predicted.item()} for all {taken.num_samples} probe samples",
        )
