"""The common form of images: which axis holds the channels, how many, the size and the depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

# More values than this on an axis are pixels rather than channels.
_MOST_CHANNELS = 16
_USUAL = (1, 3, 4)
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, by which image libraries turn RGB into grey


class Layout(NamedTuple):
    """The common form of a data set's images; those of uint16 are held as float32."""

    channels: int
    height: int
    width: int
    dtype: torch.dtype


def is_channels_last(shape: Sequence[int], what: str, allowed: Sequence[int] = ()) -> bool:
    """Whether an image of this shape is (H, W, C) rather than (C, H, W).

    If the last axis has 1, 3 or 4 values, the reading with a square image holds, else (H, W, C) if
    both other axes are too long for channels. If it has others, up to 16, the image must be square
    and larger than that for (H, W, C).

    Args:
        shape: three sizes.
        what: is of this shape, for messages; such as "x of a.npz".
        allowed: numbers of channels, if only some are.

    Raises:
        ValueError: both readings are as likely.
    """
    first, middle, last = shape
    if allowed and (first in allowed) != (last in allowed):
        return last in allowed
    clear = _by_shape(first, middle, last)
    if clear is None:
        raise ValueError(
            f"the images must have a clear layout, got {what} of shape {tuple(shape)}, which may be "
            f"{first} channels of {middle}×{last} pixels or {first}×{middle} pixels of {last} channels"
        )
    return clear


def is_clearly_channels_last(shape: Sequence[int]) -> bool:
    """Whether an image of this shape is (H, W, C); False if both readings are as likely."""
    return bool(_by_shape(*shape))


def _by_shape(first: int, middle: int, last: int) -> bool | None:
    if last not in _USUAL or first == last == 1:
        return last <= _MOST_CHANNELS < first == middle
    if (first == middle) != (middle == last):
        return first == middle
    return True if min(first, middle) > _MOST_CHANNELS else None


def fit(images: Tensor, layout: Layout) -> Tensor:
    """Bring images (B, C, H, W) to a layout: grey to RGB or back, resized without keeping the aspect."""
    images = _as_dtype(images, layout.dtype)
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


def held_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype that images of a layout are held in."""
    return torch.float32 if dtype == torch.uint16 else dtype


def _as_dtype(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Images of 8 bits scaled to 16, or the other way, if the others are."""
    if images.dtype == torch.uint8 and dtype == torch.uint16:
        return images.float() * 257
    if images.dtype == torch.uint16 and dtype == torch.uint8:
        return (images.float() / 257).round().to(torch.uint8)
    images = images.float() if images.dtype == torch.uint16 else images
    if images.dtype != held_dtype(dtype):
        raise ValueError(f"the images must have one dtype, got {dtype} and {images.dtype}")
    return images


def _to_grey(images: Tensor) -> Tensor:
    grey = (images.float() * torch.tensor(_LUMA).view(3, 1, 1)).sum(1, keepdim=True)
    return grey if images.is_floating_point() else grey.round().to(images.dtype)
