"""Labels as class indices 0 … K - 1, and what classes they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

# If more class indices are absent than this, and than occur, labels are identifiers.
_FEW_ABSENT = 10


class Labels(NamedTuple):
    """Class indices (n,), the number of classes, and their names or numbers if those are others."""

    indices: Tensor
    num_classes: int
    classes: tuple[Any, ...] | None


def number_classes(
    values: np.ndarray[Any, Any], num_classes: int | None = None, where: str = ""
) -> Labels:
    """Class indices of integers or of names (n,).

    Integers are class indices from 0 to `num_classes` - 1, by default to their largest. Where more
    than ten and more than half of these do not occur, integers are identifiers: the classes are
    those that do, in order. So they are for names, in alphabetical order.

    Args:
        values: (n,), integers or strings; Python's integers as objects, if 64 bits are too few.
        num_classes: K, if it is known; then integers are class indices.
        where: the labels are, for messages; such as " in y of a.npz".

    Raises:
        ValueError: the labels are neither, or not within the classes.
    """
    if values.dtype.kind in "US":
        names, values = np.unique(values, return_inverse=True)
        return _indices(values, len(names), names.tolist())
    if values.dtype.kind not in "iubO":
        raise ValueError(f"the labels{where} must be class indices or names, got {values.dtype}")
    # Python's integers: in NumPy's, one more than the largest may be zero.
    least, largest = int(values.min()), int(values.max())
    if num_classes is not None:
        if least < 0 or largest >= num_classes:
            outside = next(int(v) for v in values.tolist() if not 0 <= v < num_classes)
            raise ValueError(
                f"the labels{where} must be class indices from 0 to {num_classes - 1}, got {outside}"
            )
        return _indices(values, num_classes, None)
    if least < 0:
        raise ValueError(f"the labels{where} must be class indices from 0, got {least}")
    there, inverse = np.unique(values, return_inverse=True)
    if largest + 1 - len(there) > max(len(there), _FEW_ABSENT):
        return _indices(inverse, len(there), there.tolist())
    return _indices(values, largest + 1, None)


def as_array(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Integers, or strings, as an array that holds their values, whatever their size."""
    fit_64_bits = all(isinstance(v, str) or -(1 << 63) <= v < 1 << 63 for v in values)
    return np.array(values, None if fit_64_bits else object)


def _indices(
    values: np.ndarray[Any, Any], num_classes: int, classes: Sequence[Any] | None
) -> Labels:
    names = None if classes is None else tuple(classes)
    return Labels(torch.from_numpy(values.reshape(-1).astype(np.int64)), num_classes, names)
