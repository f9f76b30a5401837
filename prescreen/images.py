"""Images of a data set as tensors: read once or on demand, normalised, augmented batch by batch."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import Dataset, TensorDataset

# Training images of one data set that take more than this many bytes (4 GiB, as uint8 or float32)
# are not kept in memory but read anew for every batch.
MEMORY_LIMIT = 4 << 30

# How many images, evenly spaced, decide on the common size, and on the channels where images are
# read on demand; and how many give mean and standard deviation where they are read on demand.
_LOOKED_AT = 64
_MEASURED_ON_DEMAND = 1024

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, what image libraries turn RGB into grey with


class Layout(NamedTuple):
    """The common form of a data set's images."""

    channels: int
    height: int
    width: int
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        """Bytes of one image."""
        return self.channels * self.height * self.width * self.dtype.itemsize


class Moments(NamedTuple):
    """Mean and standard deviation of every channel; floats, so that they pickle as they are."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalize(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) of any dtype to float32 of zero mean and unit deviation."""
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in self)
        return (images.float() - mean) / std


@dataclass(frozen=True, eq=False)
class InMemory:
    """Images (n, C, H, W), uint8 or float32, and their class indices (n,)."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The images and labels of some rows."""
        return self.images[rows], self.labels[rows]

    def digest(self) -> str:
        """A hash of all images and labels."""
        return digest(self.images, self.labels)


@dataclass(frozen=True, eq=False)
class OnDemand:
    """Some rows of a data set, read and brought to a common layout whenever they are asked for."""

    dataset: Dataset[Any]
    rows: Tensor
    layout: Layout
    num_classes: int
    name: str

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The images and labels of some rows."""
        samples = [read_sample(self.dataset, row, self.name) for row in self.rows[rows].tolist()]
        images = torch.cat([fit(image[None], self.layout) for image, _ in samples])
        labels = torch.tensor([label for _, label in samples])
        check_labels(labels, self.num_classes, self.name)
        return images, labels

    def digest(self) -> str:
        """A hash of the rows in use; the images themselves are not read for it."""
        return digest(self.rows)


def read_image(dataset: Dataset[Any], row: int) -> Tensor:
    """One image, (C, H, W), uint8 or float32; its label, if there is one, is not looked at."""
    item = dataset[row]
    image = item[0] if isinstance(item, (tuple, list)) and item else item
    if not isinstance(image, Tensor) or image.ndim not in (2, 3):
        shape = f" {tuple(image.shape)}" if isinstance(image, Tensor) else ""
        raise ValueError(
            "dataset: images must be tensors (C, H, W) or (H, W), "
            f"got {type(image).__name__}{shape} in item {row}"
        )
    image = image if image.dtype == torch.uint8 else image.float()
    return image if image.ndim == 3 else image[None]


def read_sample(dataset: Dataset[Any], row: int, name: str) -> tuple[Tensor, int]:
    """One image, (C, H, W), and its class index."""
    item = dataset[row]
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise ValueError(f"{name}: items must be (image tensor, label), got {_kind(item)}")
    label = item[1]
    # Some data sets give an array or tensor with one element in it.
    value = label.item() if math.prod(getattr(label, "shape", (0,))) == 1 else label
    if not isinstance(value, int):
        raise ValueError(f"{name}: labels must be integers, got {label!r} in item {row}")
    return read_image([item], 0), value  # type: ignore[arg-type]
