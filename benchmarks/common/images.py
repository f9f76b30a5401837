"""Labelled test images and published cells, for baselines and truths; no readout sees a label."""

from __future__ import annotations

import csv
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from prescreen.tasks import ImageTask
from prescreen.tasks.images.batches import DatasetBatches, Moments
from prescreen.tasks.images.dataset import InMemory, collect
from prescreen.tasks.images.layouts import Layout
from prescreen.tasks.images.parquet import open_parquet
from prescreen.tasks.images.probe_batch import choose_probe

Labelled = tuple[Tensor, Tensor]

_started = 0.0


def open_test(data: Path) -> Dataset[Any]:
    """The test images of a folder of parquet files, with their labels."""
    return open_parquet(min(data.glob("test*.parquet"))).train


def shuffled(images: Dataset[Any], seed: int = 1) -> Tensor:
    """Their numbers, in the order in which benchmarks take them."""
    return torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))  # type: ignore[arg-type]  # it has a length


def batches_of(task: ImageTask) -> tuple[Moments, InMemory]:
    """What training images are normalised by, and the images, all in memory."""
    batches = task.batches
    assert isinstance(batches, DatasetBatches)
    assert isinstance(batches.samples, InMemory)
    return batches.moments, batches.samples


def read_rows(task: ImageTask, images: Dataset[Any], rows: Tensor) -> InMemory:
    """Images (uint8) of the task's size, and labels."""
    return collect(images, rows, Layout(task.in_channels, *task.image_size, torch.uint8))


def labelled(task: ImageTask, images: Dataset[Any], rows: Tensor) -> Labelled:
    """Inputs, prepared as the task's probe batch is, and labels."""
    samples = read_rows(task, images, rows)
    return batches_of(task)[0].normalize(samples.images), samples.labels


def labelled_images(
    data: Path, task: ImageTask, *sizes: int, order: Tensor | None = None
) -> list[Labelled]:
    """Disjoint sets of test images, none of them in the probe batch.

    Args:
        data: folder of parquet files that the task was loaded from.
        task: of `load_task`.
        sizes: images in each set.
        order: numbers of all test images, in the order in which they are taken; `shuffled` if None.
    """
    images = open_test(data)
    # As `load_task` draws it, from its default seed.
    _, probe, _ = choose_probe(images, images, len(task.probe), torch.Generator().manual_seed(0))
    order = shuffled(images) if order is None else order
    rest = order[~torch.isin(order, probe)]
    if len(rest) < sum(sizes):
        raise SystemExit(f"`data` must have {sum(sizes)} unused test images, got {len(rest)}")
    return [labelled(task, images, rows) for rows in rest[: sum(sizes)].split(sizes)]


def published_cells(truth: Path, seed: int) -> list[dict[str, str]]:
    """Cells of NAS-Bench-201 with columns arch and test_accuracy (percent), shuffled."""
    with truth.open(newline="") as file:
        rows = list(csv.DictReader(file))
    random.Random(seed).shuffle(rows)
    return rows


def timed(build: Callable[..., nn.Module], **sizes: Any) -> nn.Module:
    """Build a candidate; the clock of `cpu_seconds` starts."""
    global _started
    _started = time.process_time()
    return build(**sizes)


def cpu_seconds(model: nn.Module) -> float:
    """CPU seconds since the model was built; other work on the machine affects them little."""
    return time.process_time() - _started
