"""Curvature of the loss with respect to the head's weight, in closed form.

The Hessian of the batch's mean cross-entropy (sigmoid: summed over classes) or half squared error is
H = mean_i C_i ⊗ z_i z_iᵀ with C_i = diag(p_i) − p_i p_iᵀ for softmax, diag(p_i (1 − p_i)) for sigmoid
and I for identity links. It is the same for any labels, and the Fisher information. It has (KD)² entries
and is never formed. Features times c multiply it by c².
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from prescreen.captured import Capture
from prescreen.predictions import blocks
from prescreen.readouts.linear_algebra import exact, largest_eigenvalue
from prescreen.readouts.projections import RADIUS


def curvature_trace(capture: Capture) -> Tensor:
    """‖z_i‖²·tr C_i, whose mean is tr H: the squared head gradient expected of labels from P; (N,)."""
    return capture.feature_norms.square() * _label_variance(capture)


def fisher_trace(capture: Capture) -> Tensor:
    """‖z_i‖²·tr C_i over mean ‖z‖², which does not depend on the scale of features; shape (N,).

    Its mean is tr H / mean ‖z‖², with identity links K.
    """
    squares = capture.feature_norms.square()
    return squares / squares.mean() * _label_variance(capture)


def curvature_largest(capture: Capture) -> Tensor:
    """The largest eigenvalue of H, by products of H with a matrix (K, D); a step costs two of N·K·D."""
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(capture.weight.shape, generator=generator, dtype=capture.dtype)
    start = start.to(capture.weight.device)
    return largest_eigenvalue(lambda direction: _curvature_along(capture, direction), start)


def curvature_rank(capture: Capture) -> Tensor:
    """tr(H)² / ‖H‖²_F, the participation ratio of its eigenvalues: an effective rank, from 1 to KD.

    ‖H‖²_F = mean_ij ⟨z_i, z_j⟩² tr(C_i C_j), from Gram matrices of samples: N²(K + D). NaN where H is 0.
    """
    n = capture.num_samples
    z = exact(capture.features)
    total = z.new_zeros(())
    for rows in blocks(n, 8 * n):  # smaller ones: several are held at once, in float64
        total += ((z[rows] @ z.T).square() * _inner_products(capture, rows)).sum()
    trace = exact(curvature_trace(capture)).mean()
    return trace.square() / (total / n**2)


def sharpness_second_order(capture: Capture) -> Tensor:
    """½ρ²‖W‖²_F λ: the largest second-order change of the loss if W moves by ρ‖W‖_F, ρ = 0.1."""
    size = torch.linalg.vector_norm(capture.weight, dtype=capture.dtype)
    return 0.5 * (RADIUS * size).square() * curvature_largest(capture)


def _label_variance(capture: Capture) -> Tensor:
    """The trace of C_i, shape (N,)."""
    if capture.link == "identity":
        return capture.feature_norms.new_full((capture.num_samples,), capture.num_classes)
    # For softmax the sum is 1 − ‖p‖², free of that form's cancellation.
    parts = (capture.predictions(rows) for rows in capture.row_blocks())
    return torch.cat([_variance(p).sum(1) for p in parts])


def _curvature_along(capture: Capture, direction: Tensor) -> Tensor:
    """H V = mean_i (C_i V z_i) ⊗ z_i for V of shape (K, D)."""
    result = torch.zeros_like(direction)
    for rows in capture.row_blocks():
        z = capture.features[rows].to(capture.dtype)
        change = z @ direction.T
        if capture.link == "softmax":
            p = capture.predictions(rows)
            change *= p
            change -= p * change.sum(1, keepdim=True)
        elif capture.link == "sigmoid":
            change *= _variance(capture.predictions(rows))
        result.addmm_(change.T, z)
    return result.div_(capture.num_samples)


def _inner_products(capture: Capture, rows: slice) -> Tensor | int:
    """The traces of C_i C_j for some samples i and all j."""
    if capture.link == "identity":
        return capture.num_classes
    diagonal = _overlaps(capture, rows, _variance)
    if capture.link == "sigmoid":
        return diagonal
    # Σ_kl of (δ_kl p_ik − p_ik p_il)(δ_kl p_jk − p_jk p_jl), the terms with k = l in `diagonal`.
    same = _overlaps(capture, rows, Tensor.square)
    return diagonal + _overlaps(capture, rows, Tensor.clone).square() - same


def _overlaps(capture: Capture, rows: slice, of: Callable[[Tensor], Tensor]) -> Tensor:
    """Σ_k f(p_ik) f(p_jk) for some samples i and all j, in float64."""
    parts = (exact(capture.predictions(classes=classes)) for classes in capture.class_blocks())
    return torch.as_tensor(sum(_rows_of_gram(of(part), rows) for part in parts))


def _rows_of_gram(values: Tensor, rows: slice) -> Tensor:
    return values[rows] @ values.T


def _variance(p: Tensor) -> Tensor:
    return p * (1 - p)
