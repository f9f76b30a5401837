"""Views: the same inputs once more, changed in a way that their classes survive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn.functional import pad

# Of the width: one pixel of the 16 in benchmarks/checkpoint_selection.py.
_SHIFT = 16


def shifted(images: Tensor) -> Tensor:
    """Images a sixteenth of their width further to the right; their left edge is reflected.

    Unlike in mirrored ones, digits, letters and left lungs stay what they are.

    Args:
        images: (N, C, H, W) with at least two columns.
    """
    columns = max(1, round(images.shape[-1] / _SHIFT))
    return pad(images, (columns, 0, 0, 0), "reflect")[..., :-columns]


def view_of(unseen: Any, view: Callable[[Any], Any] | None) -> Any:
    """Another view of inputs: the given one, of images ``shifted``; None if there is none."""
    if view is not None:
        return view(unseen)
    return shifted(unseen) if isinstance(unseen, Tensor) and unseen.ndim == 4 else None
