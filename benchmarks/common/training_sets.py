"""Training sets with a defect: fewer images, wrong labels, a long tail of classes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Generator, Tensor

from benchmarks.common.images import batches_of
from prescreen.tasks import ImageTask
from prescreen.tasks.images.batches import DatasetBatches
from prescreen.tasks.images.dataset import InMemory


def with_samples(task: ImageTask, samples: InMemory, *, augment: bool = True) -> ImageTask:
    """The task with other training samples, normalised as before."""
    moments, _ = batches_of(task)
    return replace(task, batches=DatasetBatches(samples, moments, crop=augment, flip=augment))


def wrong_labels(samples: InMemory, share: float, num_classes: int, seed: int = 0) -> InMemory:
    """Change exactly this share of labels, each to one of the other classes at random."""
    generator = Generator().manual_seed(seed)
    chosen = torch.randperm(len(samples), generator=generator)[: round(share * len(samples))]
    labels = samples.labels.clone()
    labels[chosen] += torch.randint(1, num_classes, (len(chosen),), generator=generator)
    return InMemory(samples.images, labels % num_classes)


def long_tail(samples: InMemory, ratio: float = 100.0, seed: int = 0) -> InMemory:
    """Classes whose sizes fall geometrically, the first `ratio` times as large as the last."""
    order = torch.randperm(len(samples), generator=Generator().manual_seed(seed))
    sizes = samples.labels.bincount()
    largest, last = int(sizes.min()), len(sizes) - 1
    kept = [
        order[samples.labels[order] == k][: max(1, round(largest * ratio ** (-k / last)))]
        for k in range(len(sizes))
    ]
    return rows_of(samples, torch.cat(kept).sort().values)


def few(samples: InMemory, count: int, seed: int = 0) -> InMemory:
    """This many samples, drawn at random."""
    order = torch.randperm(len(samples), generator=Generator().manual_seed(seed))
    return rows_of(samples, order[:count])


def rows_of(samples: InMemory, rows: Tensor) -> InMemory:
    """The samples with these numbers."""
    return InMemory(*samples.read(rows))
