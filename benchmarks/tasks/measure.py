"""Measuring: one training of any purpose, read or judged along the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import nn

from benchmarks.tasks.kind import Data, Kind, Plan
from benchmarks.tasks.readouts import readouts_of
from prescreen import CandidateFailed, Probe, Reading
from prescreen.tasks import Task
from prescreen.tasks.base import seen_inputs
from prescreen.training import brief_training

READINGS = 4


def measure(data: Data, plan: Plan, kind: Kind) -> list[Reading]:
    """The readings of a brief training, of checkpoints, or the one at the end of a long training.

    Raises:
        CandidateFailed: it diverged.
    """
    task = data.task if plan.regime == "clean" else data.regimes[plan.regime]
    torch.manual_seed(plan.training.seed)
    model = plan.candidate.model(**task.sizes)
    if plan.purpose == "truth":
        return [*_trained(model, task, plan, 1, lambda step: Reading(step, data.worth(model)))]
    seen = plan.purpose == "run"
    probe = _probe(task, kind, seen=seen)
    if not seen:
        probe.read_untrained(model)

    def look(step: int) -> Reading:
        reading = probe.read(model, step)
        return replace(reading, values={**reading.values, **(data.quality(model) if seen else {})})

    return [*_trained(model, task, plan, kind.checkpoints if seen else READINGS, look)]


def _probe(task: Task, kind: Kind, *, seen: bool) -> Probe:
    """Reads brief trainings as `rank` does, and checkpoints in eval mode, as `Monitor` does."""
    return Probe(
        task.probe,
        readouts_of(task, own_head=kind.own_head, seen=seen),
        seen=seen_inputs(task) if seen else None,
        view=task.views,
        link=task.link,
        batch_statistics=not seen,
        on_diverged="nan",
        parts=getattr(task, "parts", None),
    )


def _trained(
    model: nn.Module, task: Task, plan: Plan, count: int, look: Callable[[int], Reading]
) -> Iterator[Reading]:
    """Train, and look at even intervals; CPU seconds are those of training and looking so far."""
    start, steps = time.process_time(), plan.training.steps
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    due = {round(steps * (number + 1) / count) for number in range(count)}
    losses: list[float] = []
    for step in brief_training(model, task, plan.training):
        if step.diverged:
            raise CandidateFailed("diverged", f"loss {step.loss} at step {step.number}")
        losses.append(step.loss)
        if step.number in due:
            loss = sum(losses) / len(losses)
            losses.clear()
            reading = replace(look(step.number), training_loss=loss, parameters=parameters)
            yield replace(reading, seconds=time.process_time() - start)
