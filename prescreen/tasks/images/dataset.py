"""Images of a data set as tensors of one layout, kept in memory or read on demand."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import median_low
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from prescreen.tasks.images.labels import as_array, number_classes
from prescreen.tasks.images.layouts import Layout, fit, held_dtype, is_channels_last
from prescreen.tasks.images.walk import short
from prescreen.tasks.resident import free_memory, sent
from prescreen.tasks.rows import digest

# Training images that take more bytes than this (4 GiB, as uint8 or float32) are not kept in memory but
# read again for every batch.
MEMORY_LIMIT = 4 << 30

_LOOKED_AT = 64  # how many images, evenly spaced, decide the common layout


# Images to those of them that are on other devices, while the images are in use.
_COPIES: WeakKeyDictionary[InMemory, dict[torch.device, InMemory]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class InMemory:
    """Images (n, C, H, W), uint8 or float32, and their class indices (n,)."""

    images: Tensor
    labels: Tensor
    dtype: torch.dtype | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def layout(self) -> Layout:
        """The layout of all images."""
        _, channels, height, width = self.images.shape
        return Layout(channels, height, width, self.dtype or self.images.dtype)

    def read(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The images and labels of some rows, in memory of their own."""
        rows = sent(rows, self.images.device)
        return self.images.index_select(0, rows), self.labels.index_select(0, rows)

    def on(self, device: torch.device) -> InMemory:
        """The same on a device, if the images take at most a quarter of its free memory; else itself.

        There is one copy on a device, however often it is asked for.
        """
        if device == self.images.device:
            return self
        copies = _COPIES.setdefault(self, {})
        if device not in copies and self.images.nbytes <= free_memory(device) // 4:
            copies[device] = InMemory(self.images.to(device), self.labels.to(device), self.dtype)
        return copies.get(device, self)

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
        images, labels = _read(self.dataset, self.rows[rows], self.layout)
        return images, number_classes(labels, self.num_classes).indices

    def digest(self) -> str:
        """A hash of the rows in use; the images are not read for it."""
        return digest(self.rows)


def read_image(dataset: Dataset[Any], row: int, layout: Layout | None = None) -> Tensor:
    """One image, (C, H, W), of its own layout or of a given one; a label beside it is ignored."""
    item = dataset[row]
    image = as_image(item[0] if isinstance(item, (tuple, list)) and item else item, dataset, row)
    return image if layout is None else _fit_one(image, layout, dataset, row)


def read_sample(dataset: Dataset[Any], row: int) -> tuple[Tensor, int]:
    """One image, (C, H, W), uint8, uint16 or float32, and its label."""
    item = dataset[row]
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise ValueError(
            f"the items must be (image tensor, label), got {type(item).__name__} as item {row}"
        )
    label = item[1]
    # In some data sets labels are arrays or tensors of one element.
    value = label.item() if math.prod(getattr(label, "shape", (0,))) == 1 else label
    if not isinstance(value, int):
        raise ValueError(f"the labels must be integers, got {short(repr(label))} in item {row}")
    return as_image(item[0], dataset, row), int(value)


def load(
    dataset: Dataset[Any], rows: Tensor, num_classes: int | None, image_size: int | None
) -> tuple[InMemory | OnDemand, int, tuple[Any, ...] | None]:
    """The training samples, in memory if they fit, the number of classes, and their names if known."""
    layout = common_layout(dataset, rows, image_size)
    named = tuple(getattr(dataset, "classes", None) or ())
    num_classes = num_classes or len(named) or None
    classes = named if len(named) == num_classes else None
    if math.prod(layout[:3]) * held_dtype(layout.dtype).itemsize * len(rows) > MEMORY_LIMIT:
        if num_classes is None:
            raise ValueError(
                "`num_classes` must be given for a data set too large for memory, got None"
            )
        return OnDemand(dataset, rows, layout, num_classes), num_classes, classes
    images, values = _read(dataset, rows, layout)
    labels = number_classes(values, num_classes)
    samples = InMemory(images, labels.indices, layout.dtype)
    return samples, labels.num_classes, classes or labels.classes


def common_layout(dataset: Dataset[Any], rows: Tensor, image_size: int | None) -> Layout:
    """The layout of up to 64 evenly spaced images: the median size; RGB if any of them is."""
    evenly = torch.linspace(0, len(rows) - 1, min(_LOOKED_AT, len(rows))).long()
    images = (read_image(dataset, row) for row in rows[evenly].tolist())
    forms = [(image.shape, image.dtype) for image in images]  # one at a time: they may be large
    height, width = (median_low(shape[dim] for shape, _ in forms) for dim in (1, 2))
    dtype, dtypes = forms[0][1], {dtype for _, dtype in forms}
    # Of images of 8 and of 16 bits all become 8 bits; beside deeper ones those of 16 bits stay.
    if torch.uint16 in dtypes and len(dtypes) > 1:
        dtype = torch.uint8 if torch.uint8 in dtypes else torch.float32
    channels = max(shape[0] for shape, _ in forms)
    return Layout(channels, image_size or height, image_size or width, dtype)


def collect(dataset: Dataset[Any], rows: Tensor, layout: Layout) -> InMemory:
    """Read rows into memory; a grey layout turns into RGB at the first RGB image."""
    images, labels = _read(dataset, rows, layout)
    return InMemory(images, torch.from_numpy(labels.astype(np.int64)), layout.dtype)


def _read(
    dataset: Dataset[Any], rows: Tensor, layout: Layout
) -> tuple[Tensor, np.ndarray[Any, Any]]:
    """The images of some rows in one layout, and their labels, which may be any integers."""
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        return _from_tensors(dataset, rows, layout)
    images = torch.empty(len(rows), *layout[:3], dtype=held_dtype(layout.dtype))
    labels = []
    for i, row in enumerate(rows.tolist()):
        image, label = read_sample(dataset, row)
        if len(image) == 3 and layout.channels == 1:
            layout = layout._replace(channels=3)
            images = images.repeat(1, 3, 1, 1)
        images[i] = _fit_one(image, layout, dataset, row)
        labels.append(label)
    return images, as_array(labels)


def _fit_one(image: Tensor, layout: Layout, dataset: Dataset[Any], row: int) -> Tensor:
    try:
        return fit(image[None], layout)[0]
    except ValueError as error:
        error.args = (f"{error} in {_origin(dataset, row)}",)
        raise


def _origin(dataset: Dataset[Any], row: int) -> str:
    """What an item is called: its file, if it has one."""
    origin = getattr(dataset, "origin", None)
    return f"item {row}" if origin is None else str(origin(row))


def _from_tensors(
    dataset: TensorDataset, rows: Tensor, layout: Layout
) -> tuple[Tensor, np.ndarray[Any, Any]]:
    """Like `_read`, for a data set that holds tensors already."""
    images, labels = dataset.tensors
    if labels.numel() != len(labels) or labels.is_floating_point() or labels.is_complex():
        raise ValueError(
            f"the labels must be integers (n,), got {labels.dtype} {tuple(labels.shape)}"
        )
    images = images[rows]
    images = images if images.ndim == 4 else images[:, None]
    if _is_channels_last(images[0], dataset, "items"):
        images = images.movedim(3, 1)
    images = images if images.dtype in (torch.uint8, torch.uint16) else images.float()
    return fit(images, layout), labels.reshape(-1).cpu().numpy()[rows.numpy()]


def as_image(value: object, dataset: Dataset[Any], row: int) -> Tensor:
    """The image of an item, (C, H, W), uint8, uint16 or float32."""
    is_image = isinstance(value, Tensor) and value.ndim in (2, 3) and value.numel() > 0
    if not isinstance(value, Tensor) or not is_image or value.is_complex():
        form = f" {tuple(value.shape)} {value.dtype}" if isinstance(value, Tensor) else ""
        raise ValueError(
            "the images must be tensors (C, H, W) or (H, W) of numbers, "
            f"got {type(value).__name__}{form} in item {row}"
        )
    image = value if value.dtype in (torch.uint8, torch.uint16) else value.float()
    if image.ndim == 2:
        return image[None]
    return image.movedim(2, 0) if _is_channels_last(image, dataset, f"item {row}") else image


def _is_channels_last(image: Tensor, dataset: Dataset[Any], what: str) -> bool:
    # What this package decoded is (C, H, W), however small.
    return not getattr(dataset, "channels_first", False) and is_channels_last(image.shape, what)
