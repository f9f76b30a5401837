"""Linear algebra: singular values from the smaller Gram matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

# An eigenvalue counts as found once a step adds less than this to it, relatively.
_TOLERANCE = {torch.float32: 1e-6, torch.float64: 1e-12}
_MAX_STEPS = 64


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
        b = exact(block)
        total = b @ b.T if total is None else total.addmm_(b, b.T)
    assert total is not None, f"no blocks of size {size}"
    return total


def exact(tensor: Tensor) -> Tensor:
    """A tensor in float64, which Apple's GPUs do not have: the CPU does."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def gram_singular_values(gram_matrix: Tensor) -> Tensor:
    """Singular values of the matrix whose Gram matrix this is."""
    return torch.linalg.eigvalsh(gram_matrix).clamp_min(0).sqrt()


def largest_eigenvalue(product: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
    """The largest eigenvalue of a symmetric matrix without negative ones, by Lanczos' iteration.

    Each step is one product and keeps three vectors. It ends once the eigenvalue grows by less than a
    millionth (float64: 1e-12), and after 64 steps, when a lower bound of it is returned. Power iteration
    takes the same products and needs about the square of their number.

    Args:
        product: the matrix times a vector of any shape.
        start: the first vector, with a share of all eigenvectors, such as a random one.

    Reference: Lanczos 1950.
    """
    vector, previous = start / torch.linalg.vector_norm(start), torch.zeros_like(start)
    diagonal, beside, value = [], [0.0], 0.0
    for _ in range(_MAX_STEPS):
        image = product(vector)
        diagonal.append(torch.vdot(image.flatten(), vector.flatten()).item())
        projected = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
        projected += torch.diag(torch.tensor(beside[1:], dtype=torch.float64), -1)
        last, value = value, torch.linalg.eigvalsh(projected)[-1].item()
        if value - last <= _TOLERANCE[start.dtype] * value:
            break
        image.sub_(vector, alpha=diagonal[-1]).sub_(previous, alpha=beside[-1])
        beside.append(torch.linalg.vector_norm(image).item())
        if beside[-1] <= torch.finfo(start.dtype).eps * value:  # there are no more directions
            break
        vector, previous = image.div_(beside[-1]), vector
    return start.new_tensor(max(value, 0.0))
