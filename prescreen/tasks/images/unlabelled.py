"""Images without labels: a probe to read models on, without anything to train on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Generator, Tensor

from prescreen.checks import require, require_at_least
from prescreen.tasks.images import dataset as images
from prescreen.tasks.images.folders import ImageFiles, say_left_out
from prescreen.tasks.images.preparation import Preparation
from prescreen.tasks.images.task import ImageTask
from prescreen.tasks.images.walk import (
    SUFFIXES,
    files_of,
    holds_images,
    list_images,
    shown,
    sub_folders,
)
from prescreen.tasks.rows import draw_rows


@dataclass(frozen=True)
class NoBatches:
    """In place of training batches, where there are no labels.

    Args:
        refusal: a line that says so.
    """

    refusal: str

    def __call__(self, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Refuse to train.

        Raises:
            ValueError: always.
        """
        raise ValueError(self.refusal)

    def digest(self) -> str:
        """What stands for the training data in a fingerprint."""
        return "no labels"


def is_unlabelled(folder: Path) -> bool:
    """Whether a folder has images, and no folders of them that could be classes."""
    return bool(files_of(folder, *SUFFIXES)) and not any(map(holds_images, sub_folders(folder)))


def open_images(folder: Path) -> ImageFiles:
    """All images below a folder, without labels.

    Raises:
        ValueError: there are fewer than two.
    """
    found, others = list_images(folder)
    if len(found) < 2:
        raise ValueError(
            f"`data` must have at least 2 images ({', '.join(SUFFIXES)}), got {len(found)} in "
            f"{shown(folder)}"
        )
    say_left_out(folder, others)
    return ImageFiles([str(path) for path in found])


def unlabelled_task(
    source: ImageFiles,
    *,
    probe_size: int,
    seed: int,
    image_size: int | None,
    num_classes: int | None,
    preparation: Preparation,
    name: str,
) -> ImageTask:
    """A task to read models on; all images are read if there are no more than `probe_size`.

    Inputs are standardised by the mean and deviation of the probe batch, unless others are given.

    Raises:
        ValueError: an argument is out of its range, or an image cannot be read.
    """
    require_at_least("probe_size", probe_size, 2)
    if image_size is not None:
        require_at_least("image_size", image_size, 1)
        require("image_size", "None with `preprocess`", image_size, preparation.preprocess is None)
    generator = Generator().manual_seed(seed)
    chosen, _ = draw_rows(len(source), min(probe_size, len(source)), generator)
    prepared = preparation.dataset(source)
    layout = images.common_layout(prepared, chosen, image_size)
    pixels = torch.stack([images.read_image(prepared, row, layout) for row in chosen.tolist()])
    samples = images.InMemory(pixels, torch.zeros(len(pixels), dtype=torch.long), layout.dtype)
    refusal = f"`data` must have labels to train on, got images without in {name}"
    return ImageTask(
        name=name,
        probe=preparation.moments(samples, generator).normalize(pixels),
        num_classes=num_classes,
        in_channels=layout.channels,
        image_size=(layout.height, layout.width),
        batches=NoBatches(refusal),
        prepared=preparation.said(layout),
    )
