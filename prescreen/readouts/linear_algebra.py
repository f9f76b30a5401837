"""Linear algebra: singular values from the smaller Gram matrix."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor


def singular_values(matrix: Tensor) -> Tensor:
    """All min(N, M) singular values of a matrix (N, M)."""
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    return gram_singular_values(gram(wide.shape[0], [wide]))


def gram(size: int, blocks: Iterable[Tensor]) -> Tensor:
    """Σ B Bᵀ over blocks B of shape (size, ·), in float64.

    Singular values come from their squares: in float32, those below 3e-4 of the largest would be
    rounding noise. After brief training most of the features' spectrum is there.
    """
    total: Tensor | None = None
    for block in blocks:
        # Apple's GPUs have no float64: for them the CPU computes the product.
        b = (block.cpu() if block.device.type == "mps" else block).double()
        total = b @ b.T if total is None else total.addmm_(b, b.T)
    assert total is not None, f"no blocks of size {size}"
    return total


def gram_singular_values(gram_matrix: Tensor) -> Tensor:
    """Singular values of the matrix whose Gram matrix this is."""
    return torch.linalg.eigvalsh(gram_matrix).clamp_min(0).sqrt()
