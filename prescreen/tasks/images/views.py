"""Views: the same inputs, changed in a way that keeps their classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# The shift as a fraction of the width: one pixel of the 16 in benchmarks/checkpoints.
_SHIFT = 16

# The margin that a crop leaves out on each side, as a fraction of the length.
_MARGIN = 16


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


def shifted_images(inputs: Any) -> Tensor | None:
    """Inputs ``shifted`` if they are images of at least two columns, else None."""
    is_wide = isinstance(inputs, Tensor) and inputs.ndim == 4 and inputs.shape[-1] > 1
    return shifted(inputs) if is_wide else None
