"""The data: training sets of every regime, and corrupted images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional

from benchmarks.common.images import Labelled, batches_of, labelled_images
from benchmarks.common.training_sets import few, long_tail, wrong_labels
from prescreen import load_task
from prescreen.tasks import ImageTask
from prescreen.tasks.images.batches import Moments
from prescreen.tasks.images.dataset import InMemory

IMAGE_SIZE = 16
PROBE, VALIDATION, TEST = 512, 1000, 5000
NOISE = 0.4
RATIO = 50.0

SEVERITIES = 5


@dataclass(frozen=True)
class Regime:
    """What a network is trained on, and for how long."""

    images: int  # before a long tail is cut out of them
    epochs: int
    every: int  # epochs from one checkpoint to the next
    augment: bool  # whether images are cropped and flipped
    recipe: dict[str, Any]  # part of `prescreen.Training`


# Labels are memorized without augmentation and weight decay, at a constant rate.
_BY_HEART = {"schedule": "constant", "weight_decay": 0.0}
_AS_USUAL = {"schedule": "cosine"}
REGIMES = {
    "clean": Regime(12000, 36, 1, True, _AS_USUAL),
    "noise": Regime(4000, 36, 1, False, _BY_HEART),
    "small": Regime(2000, 72, 2, False, _BY_HEART),
    "imbalance": Regime(20000, 72, 2, True, _AS_USUAL),
}


@dataclass(frozen=True, eq=False)
class Data:
    """What every run needs; all inputs are normalised, and no image is in two of the sets."""

    task: ImageTask
    samples: InMemory  # its training samples
    inputs: dict[str, Tensor]  # unlabelled: ``unseen`` and ``corrupted``
    validation: Labelled
    test: Labelled
    corrupted_test: Tensor


def load_data(data: Path) -> Data:
    """CIFAR-10 from a folder of parquet files; all but the training images come from its test set."""
    task = load_task(data, probe_size=PROBE, image_size=IMAGE_SIZE)
    validation, test = labelled_images(data, task, VALIDATION, TEST)
    moments, samples = batches_of(task)
    corrupted = [
        moments.normalize(corrupt(pixels(moments, inputs), seed))
        for seed, inputs in enumerate((task.probe, test[0]))
    ]
    inputs = {"unseen": task.probe, "corrupted": corrupted[0]}
    return Data(task, samples, inputs, validation, test, corrupted[1])


def training_samples(samples: InMemory, regime: str, num_classes: int, seed: int) -> InMemory:
    """The training set of a regime; every seed has its own draw."""
    drawn = few(samples, REGIMES[regime].images, seed)
    if regime == "noise":
        return wrong_labels(drawn, NOISE, num_classes, seed)
    return long_tail(drawn, RATIO, seed) if regime == "imbalance" else drawn


def pixels(moments: Moments, inputs: Tensor) -> Tensor:
    """The images (uint8) that normalised inputs were made of."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in moments)
    return (inputs * std + mean).round().clamp(0, 255).to(torch.uint8)


def corrupt(images: Tensor, seed: int = 0) -> Tensor:
    """Every image with one of `CORRUPTIONS` in one of five severities, both drawn at random.

    Kinds after Hendrycks & Dietterich 2019, arXiv 1903.12261; strengths are our own, for images of
    16×16 pixels.

    Args:
        images: (N, 3, H, W), uint8.
        seed: of everything that is drawn.
    """
    generator = Generator().manual_seed(seed)
    kinds = torch.randint(len(CORRUPTIONS), (len(images),), generator=generator)
    strengths = torch.randint(1, SEVERITIES + 1, (len(images),), generator=generator) / SEVERITIES
    changed = images.float() / 255
    for kind, corruption in enumerate(CORRUPTIONS.values()):
        rows = (kinds == kind).nonzero()[:, 0]
        changed[rows] = corruption(changed[rows], strengths[rows].view(-1, 1, 1, 1), generator)
    return (255 * changed).round().clamp(0, 255).to(torch.uint8)


def _blurred(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _impulses(x: Tensor, s: Tensor, g: Generator) -> Tensor:
    hit = torch.rand(x.shape, generator=g) < 0.2 * s
    return torch.where(hit, (torch.rand(x.shape, generator=g) < 0.5).float(), x)


def _mean(x: Tensor) -> Tensor:
    return x.mean((1, 2, 3), keepdim=True)


def _pixelated(x: Tensor) -> Tensor:
    return functional.interpolate(functional.avg_pool2d(x, 4), x.shape[2:])


# Of images x in [0, 1], strengths s (N, 1, 1, 1) in (0, 1], and a generator.
CORRUPTIONS: dict[str, Callable[[Tensor, Tensor, Generator], Tensor]] = {
    "noise": lambda x, s, g: x + 0.2 * s * torch.randn(x.shape, generator=g),
    "impulses": _impulses,
    "blur": lambda x, s, g: x + s * (_blurred(_blurred(x)) - x),
    "contrast": lambda x, s, g: _mean(x) + (1 - 0.8 * s) * (x - _mean(x)),
    "brightness": lambda x, s, g: x + 0.4 * s,
    "pixelate": lambda x, s, g: x + s * (_pixelated(x) - x),
}
