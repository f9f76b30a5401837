"""Criteria from papers that choose a checkpoint of one run or stop it, from training labels.

Features (N, D) enter the head, logits (N, K) leave it, its weight is (K, D), and training labels (N,)
are integers. Batch statistics stand for train mode: the same forward pass without its side
effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy.stats import kurtosis
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.baselines.networks import with_batch_statistics
from prescreen.predictions import model_logits


def alignments(features: Tensor, logits: Tensor, weight: Tensor, labels: Tensor) -> Tensor:
    """γ_i = ⟨−g_i, W⟩ / (‖g_i‖‖W‖_F) with g_i = (p_i − y_i) ⊗ z_i, shape (N,).

    ⟨g_i, W⟩ = (p_i − y_i)ᵀWz_i, without the head's bias. 0 where g_i is.

    Reference: gradient-weight alignment, NeurIPS 2025, repository hlzl/gwa.
    """
    residuals = _residuals(logits, labels)
    dots = ((features @ weight.T) * residuals).sum(1)
    norms = features.norm(dim=1) * residuals.norm(dim=1) * weight.norm()
    return torch.where(norms > 0, -dots / norms, 0.0)


def gwa(gammas: Tensor) -> float:
    """Mean γ / (excess kurtosis of γ + 1.2), γ `alignments` of an epoch (N,). Higher is better.

    Reference: gradient-weight alignment, NeurIPS 2025, repository hlzl/gwa, where γ are gathered
    while an epoch is trained.
    """
    values = gammas.double().numpy()
    return float(values.mean() / (kurtosis(values) + 1.2))


def prediction_changes(before: Tensor, after: Tensor) -> float:
    """Share of training samples whose predicted class differs from that an epoch ago.

    NaN if no sample has been predicted twice.

    Reference: Yuan et al. 2024 (Label Wave), arXiv 2502.07551.

    Args:
        before: predicted classes, (N,), integers; −1 where there is none yet.
        after: of the same samples, an epoch later.
    """
    known = before >= 0
    return (before != after)[known].double().mean().item()


def label_wave(changes: Sequence[float], window: int = 3) -> int:
    """The first local minimum of the moving mean of `prediction_changes`; the last checkpoint if none.

    The window is our own choice.

    Reference: Yuan et al. 2024 (Label Wave), arXiv 2502.07551.

    Args:
        changes: one value per checkpoint; NaN at the beginning.
        window: over how many checkpoints the mean is taken.
    """
    values = np.asarray(changes, float)
    means = [values[i + 1 - window : i + 1].mean() for i in range(window - 1, len(values))]
    # NaN compares as False, so an unknown value is not a minimum.
    rises = [i for i, (a, b) in enumerate(pairwise(means)) if a < b]
    return window - 1 + rises[0] if rises else len(values) - 1


def gradient_disparity(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Mean over pairs of batches of ‖∇_i − ∇_j‖₂, with respect to all parameters. Lower is better.

    Every loss is the batch's mean divided by the deviation of its samples' losses, so the size of
    losses does not matter, as in the paper. Uses batch statistics.

    Reference: Forouzesh & Thiran 2021, arXiv 2107.06665.

    Raises:
        ValueError: fewer than two batches; the paper takes five.
    """
    if len(batches) < 2:
        raise ValueError(f"`batches` must be at least 2, got {len(batches)}")
    twin = with_batch_statistics(model)
    gradients = torch.stack([_rescaled_gradient(twin, *batch) for batch in batches])
    return torch.pdist(gradients).mean().item()


def evidence(features: Tensor, logits: Tensor, labels: Tensor) -> float:
    """1 − (N/D) Σ_k G_k² / Σ̂_k over the head's weights; stop when it is above 0.

    G is the mean gradient of the batch and Σ̂_k the variance of one weight's gradient over samples.
    The paper sums over all parameters. We sum over the head's weights, whose gradients do not need
    a backward pass. Weights whose gradient does not vary are left out.

    Reference: Mahsereci et al. 2017, arXiv 1703.09580.
    """
    residuals, z = _residuals(logits, labels).double(), features.double()
    count = len(z)
    mean = residuals.T @ z / count
    squares = residuals.square().T @ z.square() / count
    variance = (squares - mean.square()).clamp_min(0) * count / (count - 1)
    varying = variance > 1e-12 * squares
    return 1 - count * (mean[varying].square() / variance[varying]).mean().item()


def first_positive(values: Sequence[float]) -> int:
    """Where a criterion such as `evidence` stops the run: its first value above 0, or the last."""
    positive = np.flatnonzero(np.asarray(values) > 0)
    return int(positive[0]) if len(positive) else len(values) - 1


def _residuals(logits: Tensor, labels: Tensor) -> Tensor:
    return logits.softmax(1) - F.one_hot(labels, logits.shape[1])


def _rescaled_gradient(twin: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    parameters = list(twin.parameters())
    with torch.enable_grad():
        losses = F.cross_entropy(model_logits(twin(inputs)), labels, reduction="none")
        loss = losses.mean() / losses.detach().std(correction=0).clamp_min(1e-12)
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.flatten() for gradient in gradients])
