"""Views: the same inputs, changed in a way that keeps their classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# The shift as a fraction of the width: one pixel of the 16 in benchmarks/checkpoints.
_SHIFT = 16


def shifted(images: Tensor) -> Tensor:
    """Images shifted to the right by a sixteenth of their width; their left edge is reflected.

    Unlike mirroring, this keeps digits, letters and left lungs what they are.

    Args:
        images: (N, C, H, W) with at least two columns.
    """
    columns = max(1, round(images.shape[-1] / _SHIFT))
    edge = images[..., 1 : columns + 1].flip(-1)
    return torch.cat([edge, images[..., :-columns]], -1)


def view_of(unseen: Any, view: Callable[[Any], Any] | None) -> Any:
    """Another view of inputs: by the given function, else ``shifted`` if they are images, else None."""
    if view is not None:
        return view(unseen)
    is_wide = isinstance(unseen, Tensor) and unseen.ndim == 4 and unseen.shape[-1] > 1
    return shifted(unseen) if is_wide else None
