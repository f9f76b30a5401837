"""The peers' proxies at initialisation, for networks of any family; resumable."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from baselines import AT_INITIALISATION
from baselines.az_nas import PARTS
from torch import Tensor

from prescreen import Candidate, Reading, Task, Trajectory
from prescreen.ranking.journal import Journal, Record

BATCH = 64
SEED = 0


def score_untrained(
    task: Task, candidates: list[Candidate], workers: int, out: Path
) -> dict[str, Trajectory]:
    """Score all candidates at initialisation by the peers' proxies; resumable."""
    settings = {"proxies": list(AT_INITIALISATION), "batch": BATCH, "task": task.fingerprint}
    with Journal(out, settings) as journal:
        waiting = [c for c in candidates if not journal.records.get(c.name, Record()).done]
        for name, values in _in_processes(workers, task, waiting):
            journal.started(name)
            journal.reading(name, Reading(0, values, values.pop("cpu_seconds")))
            journal.finished(name)
            missing = [k for k, v in values.items() if math.isnan(v)]
            print(f"untrained: {name}", *(["without", *missing] if missing else []), flush=True)
        return {name: record.trajectory for name, record in journal.records.items()}


def _in_processes(
    workers: int, task: Task, waiting: list[Candidate]
) -> Iterator[tuple[str, dict[str, float]]]:
    batches = task.batches(BATCH, SEED)
    pairs = [next(batches) for _ in range(2)]
    if waiting:
        with ProcessPoolExecutor(max(1, workers), get_context("spawn")) as pool:
            scored = pool.map(partial(score, pairs, task.num_classes), waiting)
            yield from zip([c.name for c in waiting], scored, strict=True)


def score(
    pairs: list[tuple[Tensor, Tensor]], num_classes: int, candidate: Candidate
) -> dict[str, float]:
    """All proxies of one candidate; NaN for what is not defined for a network of its kind."""
    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    shape = tuple(pairs[0][0].shape[1:])
    model = candidate.model(num_classes=num_classes, in_channels=shape[0], image_size=shape[1:])
    given: dict[str, Any] = {"model": model, "batches": pairs, "image_shape": shape}
    given |= {"inputs": pairs[0][0], "labels": pairs[0][1]}
    start = time.process_time()
    values: dict[str, float] = {}
    for name, baseline in AT_INITIALISATION.items():
        try:
            value = baseline.function(**{need: given[need] for need in baseline.needs})
        except Exception:  # each family has its own way to say that a proxy does not fit it
            value = dict.fromkeys(PARTS, math.nan) if baseline.aggregate else math.nan
        parts = value.items() if isinstance(value, dict) else [("", value)]
        values |= {f"{name}.{part}".rstrip("."): float(v) for part, v in parts}
    return values | {"cpu_seconds": time.process_time() - start}
