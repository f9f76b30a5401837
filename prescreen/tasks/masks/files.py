"""Files of masks, read as integers, and the classes that these stand for."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from prescreen.tasks.images.decode import decode
from prescreen.tasks.images.folders import ImageFiles
from prescreen.tasks.images.labels import number_classes

logger = logging.getLogger(__name__)

# If masks have no other values than 0 and this, it is the foreground.
_WHITE = 255


def read_masks(
    masks: Sequence[str], images: Sequence[str], size: tuple[int, int], *, instances: bool
) -> Tensor:
    """Masks (n, H, W) of one size, int32, resized by nearest neighbours.

    Args:
        masks: their files.
        images: the file of the image of each, which must be as large.
        size: height and width.
        instances: whether values number objects: all but 0 become 1.

    Raises:
        ValueError: a file cannot be read, is not a mask, or differs in size from its image.
    """
    read = torch.empty(len(masks), *size, dtype=torch.int32)
    files, of_images = ImageFiles(masks), ImageFiles(images)
    for i in range(len(masks)):
        values = decode(files.encoded(i), files.origin(i), _indices)
        there = decode(of_images.encoded(i), of_images.origin(i), lambda image: image.size[::-1])
        if tuple(values.shape) != there:
            (height, width), (rows, columns) = there, values.shape
            raise ValueError(
                f"`data` must have masks as large as their images, {height}×{width} pixels, got "
                f"{rows}×{columns} in {files.origin(i)}"
            )
        values = (values > 0).int() if instances else values
        if tuple(values.shape) != size:
            # Values up to 2^24 are exact in float32; resizing knows no integers.
            values = functional.interpolate(values[None, None].double(), size, mode="nearest-exact")
        read[i] = values
    return read


def number_masks(
    masks: Tensor, num_classes: int | None, ignore_index: int | None
) -> tuple[Tensor, int | None]:
    """Masks as class indices, and K, if they have classes to count.

    Values are class indices. Only where there are no others than 0 and 255, 255 is 1; and where they
    are far sparser than indices, as labels of images can be, the classes are those that there are.

    Raises:
        ValueError: a value is not an index of one of the K classes that are given.
    """
    values = masks.unique()
    if values.tolist() in ([0, _WHITE], [_WHITE]):
        return (masks == _WHITE).int(), num_classes
    indices = values[values != ignore_index] if ignore_index is not None else values
    if num_classes is not None or not len(indices):
        return masks, num_classes
    numbered = number_classes(indices.numpy(), None, " in masks")
    if numbered.classes is None:
        return masks, None
    logger.warning(
        "values of masks are classes in order: %s", ", ".join(map(str, numbered.classes))
    )
    place = torch.searchsorted(indices, masks.clamp(max=int(indices[-1]))).int()
    return torch.where(torch.isin(masks, indices), place, masks), numbered.num_classes


def _indices(image: Any) -> Tensor:
    """A Pillow image of one channel, (H, W) int32: of a palette the indices, not the colours."""
    values = np.asarray(image)
    if values.ndim == 3 and (values[..., :3] == values[..., :1]).all():
        values = values[..., 0]  # grey, saved as RGB
    if values.ndim != 2 or values.dtype.kind not in "biu":
        raise ValueError(f"a mask must have integers in one channel, got {image.mode}")
    return torch.from_numpy(values.astype(np.int32))
