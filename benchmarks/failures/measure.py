"""The runs: how a candidate is trained briefly, read, and trained for long."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

from torch import Tensor, nn

from benchmarks.baselines.curves import accuracy
from benchmarks.common.training_sets import few, long_tail, with_samples, wrong_labels
from benchmarks.failures.corrections import STABLE, read, shifts
from benchmarks.failures.data import PROBE, Data
from benchmarks.failures.plans import Plan
from prescreen import Probe, Reading
from prescreen.failures import CandidateFailed
from prescreen.heads.capturing import capture
from prescreen.tasks import ImageTask
from prescreen.tasks.images.dataset import InMemory
from prescreen.training import brief_training

BRIEF = 300
LONG = 900
OVERFIT = 600
OVERFIT_IMAGES = 500

TRUTHS = ("truth.batch", "truth.running")

# Two measurements of one candidate are the same if these are equal.
SETTINGS = {"brief": BRIEF, "long": LONG, "overfit": OVERFIT, "images": OVERFIT_IMAGES}


def measure(data: Data, plan: Plan) -> list[Reading]:
    """Train a candidate and read it; `shifted` names its values by "probe: value".

    Raises:
        CandidateFailed: it diverged or collapsed in brief training, as in `screen`, or diverged in
            the long one.
    """
    start = time.perf_counter()
    task, samples = _task(data, plan)
    long = plan.experiment in ("recipe", "imbalance")
    overfit = plan.experiment == "overfit"
    steps, read_at = (OVERFIT, (0.25, 0.5, 1.0)) if overfit else (BRIEF, (0.5, 1.0))
    readings = []
    probes = data.probes if plan.experiment == "shifted" else {"": task.probe}
    stable = {name: Probe(inputs, STABLE, view="shift") for name, inputs in probes.items()}
    for probe in stable.values():
        probe.read_untrained(plan.recipe.build(plan.arch))
    for step, model in _trained(plan, task, steps, read_at):
        read_stable = {name: probe.read(model, step).values for name, probe in stable.items()}
        if step < steps and not overfit:
            continue
        if step == steps and len(capture(model, task.probe).logits.argmax(1).unique()) == 1:
            raise CandidateFailed("collapsed", "predicts one class for all probe samples")
        if plan.experiment == "shifted":
            values = _read_shifted(model, data, samples, read_stable)
        else:
            values = read(model, task.probe, unaugmented(task, samples) if overfit else None)
            values |= read_stable[""]
        if not long:
            values |= _truths(model, data)
        readings.append(Reading(step, values, time.perf_counter() - start))
    if long:
        for _, model in _trained(plan, task, LONG, (1.0,)):
            seconds = time.perf_counter() - start
            readings = [Reading(steps, values | _truths(model, data), seconds)]
    return readings


def unaugmented(task: ImageTask, samples: InMemory) -> Tensor:
    """A batch of training inputs without crops and flips."""
    return next(with_samples(task, samples, augment=False).batches(PROBE, 1))[0]


def _task(data: Data, plan: Plan) -> tuple[ImageTask, InMemory]:
    samples, recipe = data.samples, plan.recipe
    if recipe.wrong:
        samples = wrong_labels(samples, recipe.wrong, data.task.sizes["num_classes"])
    if plan.experiment == "overfit":
        samples = few(samples, OVERFIT_IMAGES)
    if plan.experiment == "imbalance":
        samples = long_tail(samples)
    task = with_samples(data.task, samples, augment=recipe.augment)
    return replace(task, criterion=recipe.loss), samples


def _trained(
    plan: Plan, task: ImageTask, steps: int, shares: tuple[float, ...]
) -> Iterator[tuple[int, nn.Module]]:
    """The model after these shares of the steps."""
    stops = [round(share * steps) for share in shares]
    model = plan.recipe.build(plan.arch)
    for step in brief_training(model, task, plan.recipe.training(steps)):
        if step.diverged:
            raise CandidateFailed("diverged", f"loss {step.loss} at step {step.number}")
        if step.number in stops:
            yield step.number, model


def _read_shifted(
    model: nn.Module, data: Data, samples: InMemory, stable: Mapping[str, Mapping[str, float]]
) -> dict[str, float]:
    seen = unaugmented(data.task, samples)
    by_probe = {
        p: read(model, x) | {**stable[p]} | shifts(model, seen, x) for p, x in data.probes.items()
    }
    return {
        f"{p}: {name}": value for p, values in by_probe.items() for name, value in values.items()
    }


def _truths(model: nn.Module, data: Data) -> dict[str, float]:
    values = (accuracy(model, *data.test, batch_statistics=batch) for batch in (True, False))
    return dict(zip(TRUTHS, values, strict=True))
