"""Images of a data set as tensors of one layout, kept in memory or read on demand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median_low
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset, TensorDataset

from prescreen.tasks.rows import digest

# Training images that take more bytes than this (4 GiB, as uint8 or float32) are not kept in memory but
# read again for every batch.
MEMORY_LIMIT = 4 << 30

_LOOKED_AT = 64  # how many images, evenly spaced, decide the common layout
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, by which image libraries turn RGB into grey


class Layout(NamedTuple):
    """The common form of a data set's images."""

    channels: int
    height: int
    width: int
    dtype: torch.dtype


@dataclass(frozen=True, eq=False)
class InMemory:
    """Images (n, C, H, W), uint8 or float32, and their class indices (n,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def layout(self) -> Layout:
        """The layout of all images."""
        _, channels, height, width = self.images.shape
        return Layout(channels, height, width, self.images.dtype)

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The images and labels of some rows."""
        return self.images[rows], self.labels[rows]

    def digest(self) -> str:
        """A hash of all images and labels."""
        return digest(self.images, self.labels)


@dataclass(frozen=True, eq=False)
class OnDemand:
    """Some rows of a data set, read and brought to one layout when they are needed."""

    dataset: Dataset[Any]
    rows: Tensor
    layout: Layout
    num_classes: int

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The images and labels of some rows."""
        samples = [read_sample(self.dataset, row) for row in self.rows[rows].tolist()]
        labels = torch.tensor([label for _, label in samples])
        check_labels(labels, self.num_classes)
        return torch.cat([fit(image[None], self.layout) for image, _ in samples]), labels

    def digest(self) -> str:
        """A hash of the rows in use; the images are not read for it."""
        return digest(self.rows)


def read_image(dataset: Dataset[Any], row: int) -> Tensor:
    """One image, (C, H, W), uint8 or float32; a label beside it is ignored."""
    item = dataset[row]
    return _as_image(item[0] if isinstance(item, (tuple, list)) and item else item, row)


def read_sample(dataset: Dataset[Any], row: int) -> tuple[Tensor, int]:
    """One image, (C, H, W), uint8 or float32, and its class index."""
    item = dataset[row]
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise ValueError(
            f"the items must be (image tensor, label), got {type(item).__name__} as item {row}"
        )
    label = item[1]
    # In some data sets labels are arrays or tensors of one element.
    value = label.item() if math.prod(getattr(label, "shape", (0,))) == 1 else label
    if not isinstance(value, int):
        raise ValueError(f"the labels must be integers, got {label!r} in item {row}")
    return _as_image(item[0], row), value


def check_labels(labels: Tensor, num_classes: int, where: str = "") -> None:
    """Refuse class indices outside 0 … K - 1; `where` they are is part of the message."""
    outside = labels[(labels < 0) | (labels >= num_classes)]
    if len(outside):
        raise ValueError(
            f"the labels{where} must be class indices from 0 to {num_classes - 1}, "
            f"got {int(outside[0])}"
        )


def load(
    dataset: Dataset[Any], rows: Tensor, num_classes: int | None, image_size: int | None
) -> tuple[InMemory | OnDemand, int]:
    """The training samples, in memory if they fit, and the number of classes."""
    layout = common_layout(dataset, rows, image_size)
    num_classes = num_classes or len(getattr(dataset, "classes", None) or ()) or None
    if math.prod(layout[:3]) * layout.dtype.itemsize * len(rows) > MEMORY_LIMIT:
        if num_classes is None:
            raise ValueError(
                "`num_classes` must be given for a data set too large for memory, got None"
            )
        return OnDemand(dataset, rows, layout, num_classes), num_classes
    samples = collect(dataset, rows, layout)
    num_classes = num_classes or max(1, int(samples.labels.max()) + 1)
    check_labels(samples.labels, num_classes)
    return samples, num_classes


def common_layout(dataset: Dataset[Any], rows: Tensor, image_size: int | None) -> Layout:
    """The layout of up to 64 evenly spaced images: the median size; RGB if any of them is."""
    evenly = torch.linspace(0, len(rows) - 1, min(_LOOKED_AT, len(rows))).long()
    images = [read_image(dataset, row) for row in rows[evenly].tolist()]
    height, width = (median_low(image.shape[dim] for image in images) for dim in (1, 2))
    channels = max(image.shape[0] for image in images)
    return Layout(channels, image_size or height, image_size or width, images[0].dtype)


def collect(dataset: Dataset[Any], rows: Tensor, layout: Layout) -> InMemory:
    """Read rows into memory; a grey layout turns into RGB at the first RGB image."""
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        pixels, indices = dataset.tensors
        return _from_tensors(pixels[rows], indices[rows], layout)
    images = torch.empty(len(rows), *layout[:3], dtype=layout.dtype)
    labels = []
    for i, row in enumerate(rows.tolist()):
        image, label = read_sample(dataset, row)
        if len(image) == 3 and layout.channels == 1:
            layout = layout._replace(channels=3)
            images = images.repeat(1, 3, 1, 1)
        images[i] = fit(image[None], layout)[0]
        labels.append(label)
    return InMemory(images, torch.tensor(labels))


def fit(images: Tensor, layout: Layout) -> Tensor:
    """Bring images (B, C, H, W) to a layout: grey to RGB or back, resized without keeping the aspect."""
    if images.dtype != layout.dtype:
        raise ValueError(f"the images must have one dtype, got {layout.dtype} and {images.dtype}")
    channels = images.shape[1]
    if channels != layout.channels:
        if {channels, layout.channels} != {1, 3}:
            raise ValueError(
                "the images must have equally many channels, or 1 and 3, "
                f"got {channels} and {layout.channels}"
            )
        images = images.expand(-1, 3, -1, -1) if channels == 1 else _to_grey(images)
    if images.shape[2:] != layout[1:3]:
        images = functional.interpolate(images, layout[1:3], mode="bilinear", antialias=True)
    return images


def _from_tensors(images: Tensor, labels: Tensor, layout: Layout) -> InMemory:
    """Like `collect`, for a data set that holds tensors already."""
    if labels.numel() != len(labels) or labels.is_floating_point():
        raise ValueError(
            f"the labels must be integers (n,), got {labels.dtype} {tuple(labels.shape)}"
        )
    images = images if images.ndim == 4 else images[:, None]
    images = images if images.dtype == torch.uint8 else images.float()
    return InMemory(fit(images, layout), labels.reshape(-1).long())


def _as_image(value: object, row: int) -> Tensor:
    if not isinstance(value, Tensor) or value.ndim not in (2, 3) or not value.numel():
        shape = f" {tuple(value.shape)}" if isinstance(value, Tensor) else ""
        raise ValueError(
            "the images must be tensors (C, H, W) or (H, W), "
            f"got {type(value).__name__}{shape} in item {row}"
        )
    image = value if value.dtype == torch.uint8 else value.float()
    return image if image.ndim == 3 else image[None]


def _to_grey(images: Tensor) -> Tensor:
    grey = (images.float() * torch.tensor(_LUMA).view(3, 1, 1)).sum(1, keepdim=True)
    return grey if images.is_floating_point() else grey.round().to(images.dtype)
