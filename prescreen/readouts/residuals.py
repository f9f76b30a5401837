"""Residuals R = P − Q by blocks, and the norms that head gradients need: closed forms, no autograd.

The per-sample gradient of a cross-entropy (softmax, sigmoid) or half squared error (identity) with
respect to the head's weight is g_i = r_i ⊗ z_i; that of the batch mean is G = RᵀZ / N.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from prescreen.readouts.anchors import Expected, Target

if TYPE_CHECKING:
    from prescreen.captured import Capture


def residual_block(
    capture: Capture, target: Tensor, rows: slice = slice(None), classes: slice = slice(None)
) -> Tensor:
    """A block of R = P − Q, a new tensor of shape (rows, classes)."""
    p = capture.predictions(rows, classes)
    if target.dtype == torch.int64:
        return _minus_one_hot(p, target[rows], classes.start or 0)
    q = target[classes] if target.ndim == 1 else target[rows, classes].to(p.dtype)
    return p - q


def residual_norms(capture: Capture, target: Target, order: float = 2) -> Tensor:
    """‖r_i‖ in the given order, shape (N,); for EXPECTED the root of E‖r_i‖₂²."""
    if isinstance(target, Expected):
        return _expected_squares(capture).sqrt()
    return torch.cat(
        [
            torch.linalg.vector_norm(residual_block(capture, target, rows), ord=order, dim=1)
            for rows in capture.row_blocks()
        ]
    )


def outer_norm(capture: Capture, target: Target, features: Tensor) -> Tensor:
    """‖RᵀZ‖_F for features Z of shape (N, D); for EXPECTED the root of its expected square.

    ‖RᵀZ‖²_F = Σ_ij ⟨r_i, r_j⟩⟨z_i, z_j⟩: the Gram form costs N²(K + D), the direct form N·K·D.
    For labels drawn from P the r_i have mean zero and are independent, so only i = j remains.
    """
    if isinstance(target, Expected):
        squares = torch.linalg.vector_norm(features, dim=1).square()
        return (_expected_squares(capture) * squares).sum().sqrt()
    n, k, d = capture.num_samples, capture.num_classes, features.shape[1]
    blocks = (residual_block(capture, target, classes=c) for c in capture.class_blocks())
    if n * (k + d) < k * d:
        gram = features.new_zeros(n, n)
        for r in blocks:
            gram.addmm_(r, r.T)
        # Rounding can leave a sum that should be zero slightly negative.
        return (gram * (features @ features.T)).sum().clamp_min(0).sqrt()
    squares = torch.stack([torch.linalg.vector_norm(r.T @ features).square() for r in blocks])
    return squares.sum().sqrt()


def centred(features: Tensor) -> Tensor:
    """Z − z̄."""
    return features - features.mean(0)


def _minus_one_hot(p: Tensor, y: Tensor, first_class: int) -> Tensor:
    column = y - first_class
    inside = (column >= 0) & (column < p.shape[1])
    row = torch.arange(len(y), device=y.device)[inside]
    return p.index_put((row, column[inside]), p.new_tensor(-1.0), accumulate=True)


def _expected_squares(capture: Capture) -> Tensor:
    """E‖r_i‖² over labels drawn from p_i, shape (N,).

    Σ_k p_k(1 − p_k) for both links: for softmax it is 1 − ‖p‖², free of that form's cancellation.
    """
    blocks = (capture.predictions(rows) for rows in capture.row_blocks())
    return torch.cat([(p * (1 - p)).sum(1) for p in blocks])
