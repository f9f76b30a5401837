"""Views: the same inputs, changed in a way that keeps their classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from prescreen.trees import map_tensors, tensors_in

# The shift as a fraction of the width: one pixel of the 16 in benchmarks/checkpoints.
_SHIFT = 16

# The margin that a crop leaves out on each side, as a fraction of the length.
_MARGIN = 16


class Moved(NamedTuple):
    """Changed inputs in which what they show lies at other places.

    That matters for dense predictions, such as a class for each pixel: they are compared place by place.

    Args:
        inputs: in the form of the original.
        back: brings maps (N, K, h, w) of predictions, at any resolution, back to the places of the
            original; it may only rearrange them. None if nothing does: dense predictions are then read
            at the original inputs, with noise in the weights.
    """

    inputs: Any
    back: Callable[[Tensor], Tensor] | None = None


def shifted(images: Tensor) -> Tensor:
    """Images shifted to the right by a sixteenth of their width; their left edge is reflected.

    Unlike mirroring, this keeps digits, letters and left lungs what they are.

    Args:
        images: (N, C, H, W) with at least two columns.
    """
    columns = max(1, round(images.shape[-1] / _SHIFT))
    edge = images[..., 1 : columns + 1].flip(-1)
    return torch.cat([edge, images[..., :-columns]], -1)


def mirrored(images: Tensor) -> Tensor:
    """Images (N, C, H, W), left and right exchanged. Digits and letters do not stay what they are."""
    return images.flip(-1)


def cropped(images: Tensor) -> Tensor:
    """Images without a margin of a sixteenth on each side, enlarged to their size again.

    Args:
        images: (N, C, H, W), floating-point, with at least three rows and columns.
    """
    height, width = images.shape[-2:]
    rows, columns = (max(1, round(length / _MARGIN)) for length in (height, width))
    inner = images[..., rows : height - rows, columns : width - columns]
    return functional.interpolate(inner, (height, width), mode="bilinear", align_corners=False)


def shifted_images(inputs: Any) -> Moved | None:
    """Inputs ``shifted`` if they are images of at least two columns and nothing else, else None."""
    tensors = [*tensors_in(inputs)]
    is_image = len(tensors) == 1 and tensors[0].ndim == 4 and tensors[0].shape[-1] > 1
    return Moved(map_tensors(inputs, shifted)) if is_image else None


def mirrored_and_back(inputs: Tensor) -> Moved:
    """Images (N, C, H, W) ``mirrored``, whose maps of predictions are mirrored as well."""
    return Moved(mirrored(inputs), mirrored)
