"""Trajectories for optuna_study.py: every cell is trained once and read and validated on the way.

One JSON line a cell is appended to the file, so that a run that was cut off continues. Seconds are
CPU seconds of one thread: the machine may be busy with other work without changing them much.
"""

from __future__ import annotations

import csv
import json
import random
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from labelled import labelled, open_test
from torch import Tensor, nn

from prescreen import DEFAULT_PANEL, Candidate, Task, Training, brief_training, load_task, read
from prescreen.heads.preserve import preserve
from prescreen.spaces.space import resolve_space

VALIDATION_IMAGES = 1000


@dataclass(frozen=True)
class Settings:
    """How every cell is trained; stored with it."""

    steps: int
    interval: int
    batch_size: int
    lr: float
    seed: int
    readouts: tuple[str, ...] = DEFAULT_PANEL


def record(
    settings: Settings, cells: list[dict[str, Any]], data: Path, file: Path, workers: int
) -> list[dict[str, Any]]:
    """The recordings of all cells; those that the file lacks are measured and appended."""
    wanted = json.loads(json.dumps(asdict(settings)))
    done = {line["arch"]: line for line in _lines(file) if line["settings"] == wanted}
    missing = [cell for cell in cells if cell["arch"] not in done]
    if missing:
        file.parent.mkdir(parents=True, exist_ok=True)
        with (
            ProcessPoolExecutor(
                workers, get_context("spawn"), initializer=_start, initargs=(settings, data)
            ) as pool,
            file.open("a") as out,
        ):
            for future in as_completed([pool.submit(_record_cell, cell) for cell in missing]):
                line = future.result()
                done[line["arch"]] = line
                out.write(json.dumps(line) + "\n")
                out.flush()
                print(f"{len(done)}/{len(cells)} cells recorded", flush=True)
    return [done[cell["arch"]] for cell in cells]


def chosen_cells(data: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Cells with published accuracies; of one seed, fewer are the first of more."""
    with (data / "nas_bench_201" / "cifar10.csv").open() as file:
        rows = [
            {"arch": row["arch"], "accuracy": float(row["test_accuracy"])}
            for row in csv.DictReader(file)
        ]
    random.Random(seed).shuffle(rows)
    return rows[:count]


def _lines(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    # A kill may have cut the last line.
    return [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")]


_worker: dict[str, Any] = {}


def _start(settings: Settings, data: Path) -> None:
    torch.set_num_threads(1)
    task = load_task(data / "cifar10")
    _worker.update(settings=settings, task=task, validation=_validation(data, settings.seed, task))


def _validation(data: Path, seed: int, task: Task) -> tuple[Tensor, Tensor]:
    """Labelled images that neither training nor the probe batch uses."""
    images = open_test(data / "cifar10")
    rows = list(range(len(images)))
    random.Random(seed).shuffle(rows)
    inputs, labels = labelled(task, images, torch.tensor(rows))
    probe = {image.numpy().tobytes() for image in task.probe}
    unseen = [i for i, image in enumerate(inputs) if image.numpy().tobytes() not in probe]
    assert len(unseen) + len(task.probe) <= len(inputs), "the probe batch was not recognised"
    unseen = unseen[:VALIDATION_IMAGES]
    return inputs[unseen], labels[unseen]


def _record_cell(cell: dict[str, Any]) -> dict[str, Any]:
    settings, task = _worker["settings"], _worker["task"]
    space = resolve_space("nas_bench_201")
    config = {"arch": cell["arch"]}
    candidate = Candidate(cell["arch"], config, lambda **sizes: space.build(config, **sizes))
    training = Training(
        steps=settings.steps, batch_size=settings.batch_size, lr=settings.lr, seed=settings.seed
    )
    torch.manual_seed(settings.seed)
    model = candidate.model(num_classes=task.num_classes, in_channels=task.in_channels)
    points, spent, start = [], 0.0, time.process_time()
    for step in brief_training(model, task, training):
        if step.number % settings.interval:
            continue
        spent += time.process_time() - start
        points.append({"step": step.number, "training_seconds": spent, **_measure(model, task)})
        start = time.process_time()
    return {**cell, "settings": asdict(settings), "points": points}


def _measure(model: nn.Module, task: Task) -> dict[str, Any]:
    start = time.process_time()
    values = read(model, task.probe, _worker["settings"].readouts)
    read_at = time.process_time()
    evaluated = _accuracy(model, batch_statistics=False)
    evaluated_at = time.process_time()
    with_batch_statistics = _accuracy(model, batch_statistics=True)
    return {
        "values": values,
        "reading_seconds": read_at - start,
        "validation_accuracy": evaluated,
        "validation_seconds": evaluated_at - read_at,
        "validation_accuracy_batch_statistics": with_batch_statistics,
        "validation_seconds_batch_statistics": time.process_time() - evaluated_at,
    }


def _accuracy(model: nn.Module, batch_statistics: bool) -> float:
    inputs, labels = _worker["validation"]
    with preserve(model, batch_statistics=batch_statistics), torch.no_grad():
        predicted = torch.cat([model(batch).argmax(1) for batch in inputs.split(250)])
    return (predicted == labels).float().mean().item()
