"""The training runs: what each is, and what is measured along the way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import chain, islice

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from benchmarks.baselines.checkpoints import gradient_disparity
from benchmarks.baselines.curves import accuracy, loss
from benchmarks.checkpoints.data import PROBE, REGIMES, Data, training_samples
from benchmarks.checkpoints.networks import ARCHITECTURES, build
from benchmarks.checkpoints.readings import Followed, probes
from benchmarks.common.images import Labelled, batches_of
from benchmarks.common.training_sets import with_samples
from prescreen import Reading, Training
from prescreen.failures import CandidateFailed
from prescreen.tasks.images.dataset import InMemory
from prescreen.training import brief_training

BATCH = 64
TRAINING_IMAGES = 1000
DISPARITY_BATCHES = 5
EMA_DECAY = 0.998
SWA_SHARE = 1 / 3
SWA_BATCHES = 40

# Settings are chosen on the runs of the first two seeds and reported on those of the third.
SEEDS = {"tune": (0, 1), "report": (2,)}

# Two measurements of one run are the same if these and the code are equal.
SETTINGS = {
    "batch": BATCH,
    "ema_decay": EMA_DECAY,
    "regimes": {name: asdict(regime) for name, regime in REGIMES.items()},
    "architectures": {name: [a.recipe, a.by_heart] for name, a in ARCHITECTURES.items()},
}


@dataclass(frozen=True)
class Plan:
    """One training run."""

    regime: str
    architecture: str
    seed: int

    @property
    def name(self) -> str:
        """Such as ``noise vit 1``."""
        return f"{self.regime} {self.architecture} {self.seed}"


def plans() -> list[Plan]:
    """All runs, with those that settings are chosen on first."""
    return [
        Plan(regime, architecture, seed)
        for seed in chain(*SEEDS.values())
        for regime in REGIMES
        for architecture in ARCHITECTURES
    ]


def measure(data: Data, plan: Plan, steps_share: float = 1.0) -> list[Reading]:
    """Train a network to the end and read it at every checkpoint.

    Raises:
        CandidateFailed: it diverged.
    """
    start = time.process_time()
    samples = training_samples(data.samples, plan.regime, data.task.sizes["num_classes"], plan.seed)
    # Not the seed of the wrong labels, which would draw the same samples.
    kept = torch.randperm(len(samples), generator=torch.Generator().manual_seed(plan.seed + 1000))
    images, labels = samples.read(kept[:TRAINING_IMAGES])
    training = batches_of(data.task)[0].normalize(images), labels
    inputs = {k: x for k, x in data.inputs.items() if k == "unseen" or plan.regime == "clean"}
    reading_probes = probes(inputs, training[0][:PROBE], labels[:PROBE])
    readings: list[Reading] = []
    for checkpoint in _checkpoints(data, plan, samples, steps_share):
        model = checkpoint.model
        values = _accuracies(model, data, training) | checkpoint.values
        for probe in reading_probes:
            values |= probe.read(model, checkpoint.step).values
        if "corrupted" in inputs:
            labelled = data.corrupted_test, data.test[1]
            values["test.corrupted"] = accuracy(model, *labelled, batch_statistics=False)
        pairs = zip(*(part.split(BATCH) for part in training), strict=True)
        values["gradient_disparity"] = gradient_disparity(
            model, list(islice(pairs, DISPARITY_BATCHES))
        )
        seconds = time.process_time() - start
        readings.append(Reading(checkpoint.step, values, seconds, checkpoint.training_loss))
    return readings


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A network in training: the step, the mean loss since the last one, and what else was measured."""

    step: int
    model: nn.Module
    training_loss: float
    values: dict[str, float]


def _checkpoints(
    data: Data, plan: Plan, samples: InMemory, steps_share: float
) -> Iterator[Checkpoint]:
    regime, architecture = REGIMES[plan.regime], ARCHITECTURES[plan.architecture]
    epoch = max(1, round(steps_share * (len(samples) // BATCH)))
    times = 1 if regime.augment else architecture.by_heart
    every, steps = times * regime.every * epoch, times * regime.epochs * epoch
    model = build(plan.architecture, plan.seed)
    ema = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(EMA_DECAY), use_buffers=True)
    swa = AveragedModel(model)
    followed = Followed(model, samples.labels)
    # Sample numbers take the place of labels, so that training can be followed.
    numbered = InMemory(samples.images, torch.arange(len(samples)))
    task = with_samples(data.task, numbered, augment=regime.augment)
    parts = {**architecture.recipe, **regime.recipe}
    recipe = Training(steps=steps, batch_size=BATCH, warmup=0.02, seed=plan.seed, **parts)
    losses: list[float] = []
    for step in brief_training(model, replace(task, criterion=followed.loss), recipe):
        if step.diverged:
            raise CandidateFailed("diverged", f"loss {step.loss} at step {step.number}")
        losses.append(step.loss)
        ema.update_parameters(model)
        if step.number % every:
            continue
        values = followed.values(epoch)
        values["test.ema"] = accuracy(ema.module, *data.test, batch_statistics=False)
        if step.number > (1 - SWA_SHARE) * steps:
            swa.update_parameters(model)
        if step.number == steps:
            update_bn([x for x, _ in islice(task.batches(BATCH, 0), SWA_BATCHES)], swa.module)
            values["test.swa"] = accuracy(swa.module, *data.test, batch_statistics=False)
        yield Checkpoint(step.number, model, sum(losses) / len(losses), values)
        losses.clear()


def _accuracies(model: nn.Module, data: Data, training: Labelled) -> dict[str, float]:
    return {
        "test": accuracy(model, *data.test, batch_statistics=False),
        "validation.accuracy": accuracy(model, *data.validation, batch_statistics=False),
        "validation.loss": loss(model, *data.validation, batch_statistics=False),
        "training.accuracy": accuracy(model, *training, batch_statistics=False),
    }
