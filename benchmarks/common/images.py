"""Labelled test images for baselines and truths, and the clock of candidates; no readout sees them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from prescreen import Task
from prescreen.tasks.images.dataset import InMemory, Layout, collect
from prescreen.tasks.images.parquet import open_parquet

_started = 0.0


def open_test(data: Path) -> Dataset[Any]:
    """The test images of a folder of parquet files, with their labels."""
    return open_parquet(next(iter(sorted(data.glob("test*.parquet"))))).train


def shuffled(images: Dataset[Any]) -> Tensor:
    """Their numbers in the one order that benchmarks take them in."""
    return torch.randperm(len(images), generator=torch.Generator().manual_seed(1))


def read_rows(task: Task, images: Dataset[Any], rows: Tensor) -> InMemory:
    """Images (uint8) of the task's size, and labels."""
    return collect(images, rows, Layout(task.in_channels, *task.image_size, torch.uint8))


def labelled(task: Task, images: Dataset[Any], rows: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs, prepared as the task's probe batch is, and labels."""
    samples = read_rows(task, images, rows)
    return task.batches.moments.normalize(samples.images), samples.labels


def timed(build: Callable[..., nn.Module], **sizes: Any) -> nn.Module:
    """Build a candidate; the clock of `cpu_seconds` starts."""
    global _started
    _started = time.process_time()
    return build(**sizes)


def cpu_seconds(model: nn.Module) -> float:
    """Of this process since it built the model: a shared machine does not lengthen them much."""
    return time.process_time() - _started
