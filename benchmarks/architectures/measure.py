"""What is measured for an architecture: proxies at initialisation, and readouts in brief training."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.baselines import AT_INITIALISATION
from benchmarks.baselines.curves import accuracy
from benchmarks.common.images import Labelled, cpu_seconds
from benchmarks.common.journalled import Work, journalled
from benchmarks.common.results import Row
from prescreen import Candidate, Ranking, Reading, Training, rank
from prescreen.reading import Trajectory
from prescreen.tasks import ImageTask

BATCH = 64
SEED = 0


def score_untrained(
    task: ImageTask, candidates: list[Candidate], workers: int, out: Path
) -> dict[str, Row]:
    """The peers' proxies of all candidates at initialisation, by name; resumable."""
    settings = {"proxies": list(AT_INITIALISATION), "batch": BATCH, "task": task.fingerprint}
    batches = task.batches(BATCH, SEED)
    given = [next(batches) for _ in range(2)], task.sizes
    records = journalled(out, settings, candidates, Work(_score, tuple, (given,), workers))
    lasts = {name: record.trajectory.last for name, record in records.items()}
    values = {name: {**last.values, "cpu_seconds": last.seconds} for name, last in lasts.items()}
    return {name: {f"untrained.{k}": v for k, v in own.items()} for name, own in values.items()}


def _score(given: tuple[list[Labelled], Mapping[str, Any]], candidate: Candidate) -> list[Reading]:
    """All proxies of one candidate; NaN where one is undefined for this kind of network."""
    pairs, sizes = given
    torch.manual_seed(SEED)
    inputs, labels = pairs[0]
    model, shape = candidate.model(**sizes), tuple(inputs.shape[1:])
    needs: dict[str, Any] = {"model": model, "batches": pairs, "image_shape": shape}
    needs |= {"inputs": inputs, "labels": labels}
    start = time.process_time()
    values: dict[str, float] = {}
    for name, baseline in AT_INITIALISATION.items():
        try:
            value = baseline.function(**{need: needs[need] for need in baseline.needs})
        except Exception:  # each family signals in its own way that a proxy does not apply
            value = dict.fromkeys(baseline.parts, math.nan) if baseline.parts else math.nan
        parts = value.items() if isinstance(value, dict) else [("", value)]
        values |= {f"{name}.{part}".rstrip("."): float(v) for part, v in parts}
    return [Reading(1, values, time.process_time() - start)]  # the journal takes no step 0


def train_briefly(
    task: ImageTask,
    candidates: list[Candidate],
    training: Training,
    readouts: Sequence[str],
    validation: Labelled,
    seen: Labelled,
    **options: Any,
) -> Ranking:
    """The package's own `rank`, plus what only baselines need; ``options`` are passed to it."""

    def share(of: Labelled, batch_statistics: bool) -> Any:
        inputs, labels = of
        return partial(accuracy, inputs=inputs, labels=labels, batch_statistics=batch_statistics)

    extra = {
        # Taken first, so that it does not contain what only the baselines need.
        "cpu_seconds": cpu_seconds,
        "training_accuracy": share(seen, True),
        "validation_accuracy": share(validation, False),
        "validation_accuracy_batch": share(validation, True),
    }
    options = {"readouts": readouts, "extra": extra, "progress": progress, **options}
    return rank(candidates, task, training=training, **options)


def progress(event: Any) -> None:
    """Print the progress of a ranking."""
    print(f"{event.share:6.1%}  {event.finished} of {event.candidates}", flush=True)


def last_values(trajectory: Trajectory) -> Row:
    """The last values, and the training losses: their sum, second half and last; empty if it failed."""
    losses = [reading.training_loss for reading in trajectory]
    if not losses:
        return {}
    # Readings are equally far apart, so sums of their means are proportional to sums of losses.
    late = float(np.mean(losses[-len(losses) // 2 :]))
    return {**trajectory.last.values, "tse": sum(losses), "tse_e": late, "last_loss": losses[-1]}
