"""Residuals R = P − Q by blocks, and norms of head gradients in closed form, without autograd.

The per-sample gradient of a cross-entropy (softmax, sigmoid) or half squared error (identity) with
respect to the head's weight is g_i = r_i ⊗ z_i; that of the batch mean is G = RᵀZ / N.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from prescreen.captured import Capture
from prescreen.predictions import Predictions
from prescreen.readouts.anchors import Target


def residual_block(
    capture: Capture, target: Target, rows: slice = slice(None), classes: slice = slice(None)
) -> Tensor:
    """A block of R = P − Q, a new tensor of shape (rows, classes)."""
    p = capture.predictions(rows, classes)
    if isinstance(target, Predictions):
        return p - target.predictions(rows, classes).to(p)
    if target.dtype == torch.int64:
        return _minus_one_hot(p, target[rows], classes.start or 0)
    q = target[classes] if target.ndim == 1 else target[rows, classes].to(p.dtype)
    return p - q


def target_block(capture: Capture, target: Target, rows: slice = slice(None)) -> Tensor:
    """A block of Q, shape (rows, K), or (K,) if all samples share it."""
    if isinstance(target, Predictions):
        return target.predictions(rows).to(capture.logits.device, capture.dtype)
    if target.dtype == torch.int64:
        return one_hot(target[rows], capture.num_classes).to(capture.dtype)
    return target if target.ndim == 1 else target[rows].to(capture.dtype)


def residual_norms(capture: Capture, target: Target, order: float = 2) -> Tensor:
    """‖r_i‖ in the given order, shape (N,)."""
    return torch.cat(
        [
            torch.linalg.vector_norm(residual_block(capture, target, rows), ord=order, dim=1)
            for rows in capture.row_blocks()
        ]
    )


def outer_norm(capture: Capture, target: Target, features: Tensor) -> Tensor:
    """‖RᵀZ‖_F for features Z of shape (N, D).

    ‖RᵀZ‖²_F = Σ_ij ⟨r_i, r_j⟩⟨z_i, z_j⟩: the Gram form costs N²(K + D), the direct form N·K·D.
    """
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
