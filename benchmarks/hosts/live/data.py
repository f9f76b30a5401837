"""Data of the scripts: labelled images, and unlabelled ones to read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from benchmarks.common.images import batches_of, labelled_images
from prescreen import load_task
from prescreen.tasks import ImageTask

BATCH = 64
TRAIN, VALID = 8192, 1024


@dataclass(frozen=True)
class Data:
    """Labelled images to train and to validate on, and unlabelled ones to read."""

    train: tuple[Tensor, Tensor]
    valid: tuple[Tensor, Tensor]
    unlabelled: Tensor

    def epoch(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Batches of all training images in random order."""
        inputs, labels = self.train
        for rows in torch.randperm(len(labels)).split(BATCH):
            yield inputs[rows], labels[rows]

    @torch.no_grad()
    def accuracy(self, model: nn.Module) -> float:
        """Of the validation images, in evaluation mode."""
        model.eval()
        inputs, labels = self.valid
        right = sum(
            (model(part).argmax(1) == of).sum().item()
            for part, of in zip(inputs.split(256), labels.split(256), strict=True)
        )
        model.train()
        return right / len(labels)


def digits() -> Data:
    """Handwritten digits of 8×8 pixels; the validation images are read, without their labels."""
    loaded = load_digits()
    images = torch.tensor(loaded.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(loaded.target)
    train, valid = slice(0, 1280), slice(1280, None)
    return Data((images[train], labels[train]), (images[valid], labels[valid]), images[valid])


def cifar10(folder: Path, kept: Path) -> Data:
    """Some images of CIFAR-10 at 16×16 pixels; a file keeps them for the next time."""
    if not kept.exists():
        task = load_task(folder, image_size=16)
        assert isinstance(task, ImageTask)
        moments, samples = batches_of(task)
        rows = torch.randperm(len(samples.labels), generator=torch.Generator().manual_seed(0))[
            :TRAIN
        ]
        train = moments.normalize(samples.images[rows]), samples.labels[rows]
        (valid,) = labelled_images(folder, task, VALID)
        kept.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"train": train, "valid": valid, "unlabelled": task.probe}, kept)
    return Data(**torch.load(kept))


def convolutions(channels: int, depth: int, dropout: float) -> nn.Module:
    """A small convolutional network for images of 16×16 pixels."""
    layers: list[nn.Module] = []
    before = 3
    for number in range(depth):
        layers += [nn.Conv2d(before, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if number < 3 else []
        before = channels
    pooled: list[nn.Module] = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, *pooled, nn.Linear(channels, 10))
