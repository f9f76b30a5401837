"""Projections: how predictions and features are compared with an anchor.

A projection of shape (N,) has values for each sample, and the readout is their mean; one of shape ()
belongs to the whole batch. z_i are features, r_i = p_i − q_i residuals.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid
from torch.special import xlogy

from prescreen.captured import Capture
from prescreen.predictions import Predictions, is_far
from prescreen.readouts.anchors import Target, UndefinedError, prior, require_link
from prescreen.readouts.mixtures import divergence_of_rows
from prescreen.readouts.residuals import (
    centred,
    outer_norm,
    residual_block,
    residual_norms,
    target_block,
)

Projection = Callable[[Capture, Target], Tensor]

# How far a weight moves where sharpness is read, as a share of its norm.
RADIUS = 0.1


def gradient(capture: Capture, target: Target) -> Tensor:
    """‖r_i‖₂·‖z_i‖₂, the norm of each sample's head gradient; shape (N,)."""
    return residual_norms(capture, target) * capture.feature_norms


def batch_gradient(capture: Capture, target: Target) -> Tensor:
    """‖RᵀZ‖_F / N, the norm of the mean head gradient.

    Reference: Wu & Summa 2026, arXiv 2601.16874.
    """
    return outer_norm(capture, target, capture.features.to(capture.dtype)) / capture.num_samples


def centred_batch_gradient(capture: Capture, target: Target) -> Tensor:
    """‖Rᵀ(Z − z̄)‖_F / N: with the prior anchor the norm of the covariance of P and Z."""
    z = centred(capture.features.to(capture.dtype))
    return outer_norm(capture, target, z) / capture.num_samples


def divergence(capture: Capture, target: Target) -> Tensor:
    """KL(p_i ‖ q_i), for sigmoid links summed over classes; shape (N,), in nats."""
    require_link("projection 'divergence'", capture, "softmax", "sigmoid")
    if isinstance(target, Predictions):
        return torch.cat([_from_logits(capture, target, rows) for rows in capture.row_blocks()])
    if not target.is_floating_point():
        raise UndefinedError(
            "the anchor of projection 'divergence' must be a distribution, got hard labels, from which "
            "it is infinite"
        )
    # To look whether it excludes classes would wait for an accelerator.
    positive = target.ndim == 1 and not is_far(target) and bool((target > 0).all())
    return _from_distribution(capture, target, positive)


def divergence_from_prior(capture: Capture) -> Tensor:
    """KL(p_i ‖ p̄), whose mean is the mutual information of P; shape (N,)."""
    require_link("projection 'divergence'", capture, "softmax", "sigmoid")
    return _from_distribution(capture, prior(capture), True)


def _from_distribution(capture: Capture, q: Tensor, positive: bool) -> Tensor:
    # One logarithm of (K,) instead of (N, K); xlogy is for classes that q excludes.
    log_q = q.log() if positive else None

    def block(rows: slice) -> Tensor:
        p, logits = capture.predictions(rows), capture.logit_block(rows)
        anchor = q if q.ndim == 1 else q[rows]
        if capture.link == "softmax":
            log_p = logits - capture.log_partition[rows, None]
            if log_q is not None:
                return log_p.sub_(log_q).mul_(p).sum(1)
            return (p * log_p - xlogy(p, anchor)).sum(1)
        yes = p * logsigmoid(logits) - xlogy(p, anchor)
        no = (1 - p) * logsigmoid(-logits) - xlogy(1 - p, 1 - anchor)
        return (yes + no).sum(1)

    return torch.cat([block(rows) for rows in capture.row_blocks()])


def _from_logits(capture: Capture, other: Predictions, rows: slice) -> Tensor:
    """Divergence from logits on both sides: overconfident probabilities are 0 in float32."""
    p, ours = capture.predictions(rows), capture.logit_block(rows)
    theirs = other.logits[rows].to(ours)
    if capture.link == "softmax":
        apart = other.log_partition[rows].to(ours) - capture.log_partition[rows]
        return (p * (ours - theirs)).sum(1) + apart  # exactly 0 for equal predictions
    yes = p * (logsigmoid(ours) - logsigmoid(theirs))
    no = (1 - p) * (logsigmoid(-ours) - logsigmoid(-theirs))
    return (yes + no).sum(1)


def agreement(capture: Capture, target: Target) -> Tensor:
    """⟨p_i, q_i⟩, for sigmoid links the mean over classes of p q + (1 − p)(1 − q); shape (N,).

    It is how often labels agree that are drawn from P and from Q, each sample's on their own.
    """
    require_link("projection 'agreement'", capture, "softmax", "sigmoid")
    if isinstance(target, Predictions) and (overlap := capture.overlap(target)) is not None:
        return overlap
    return torch.cat([_agreement(capture, target, rows) for rows in capture.row_blocks()])


def _agreement(capture: Capture, target: Target, rows: slice) -> Tensor:
    p, q = capture.predictions(rows), target_block(capture, target, rows)
    if capture.link == "softmax":
        return (p * q).sum(1)
    return (p * q + (1 - p) * (1 - q)).mean(1)


def jensen_shannon(capture: Capture, target: Target) -> Tensor:
    """Mean KL of p_i and q_i to (p_i + q_i) / 2, for sigmoid links summed over classes; shape (N,).

    Unlike ``divergence`` it is symmetric, bounded by log 2 (sigmoid: K log 2), and defined for hard
    labels.
    """
    require_link("projection 'jensen_shannon'", capture, "softmax", "sigmoid")
    link = capture.link

    def block(rows: slice) -> Tensor:
        p = capture.predictions(rows)
        return divergence_of_rows([p, target_block(capture, target, rows).expand_as(p)], link)

    return torch.cat([block(rows) for rows in capture.row_blocks()])


def quasinorm_batch_gradient(capture: Capture, target: Target) -> Tensor:
    """(Σ_kd |G_kd|^0.3)^(1/0.3) of the mean head gradient G; it has no Gram form.

    Reference: Deng et al. 2024, arXiv 2401.08909.
    """
    z = capture.features.to(capture.dtype) / capture.num_samples
    blocks = (residual_block(capture, target, classes=c) for c in capture.class_blocks())
    return torch.stack([(r.T @ z).abs().pow_(0.3).sum() for r in blocks]).sum() ** (1 / 0.3)


def sharpness(capture: Capture, target: Target) -> Tensor:
    """ρ‖W‖_F ‖RᵀZ‖_F / N: the largest first-order change of the loss if W moves by ρ‖W‖_F, ρ = 0.1.

    Reference: after Foret et al. 2021, arXiv 2010.01412.
    """
    weight_norm = torch.linalg.vector_norm(capture.weight, dtype=capture.dtype)
    return RADIUS * weight_norm * batch_gradient(capture, target)


def ood_gradient(capture: Capture, target: Target) -> Tensor:
    """‖z_i‖₁·‖r_i‖₁, shape (N,).

    Reference: Huang et al. 2021 (GradNorm), arXiv 2110.00218.
    """
    norms = torch.linalg.vector_norm(capture.features, ord=1, dim=1, dtype=capture.dtype)
    return norms * residual_norms(capture, target, 1)


def gwa(capture: Capture, target: Target) -> Tensor:
    """Gradient-weight alignment: mean γ / (excess kurtosis of γ + 1.2).

    γ_i = ⟨−g_i, W⟩ / (‖g_i‖‖W‖_F) with ⟨g_i, W⟩ = r_iᵀWz_i = ⟨r_i, a_i − b⟩; 0 where g_i is 0.

    Reference: gradient-weight alignment, NeurIPS 2025, repository hlzl/gwa.
    """
    bias = 0.0 if capture.bias is None else capture.bias.to(capture.dtype)
    dots = torch.cat(
        [
            (residual_block(capture, target, rows) * (capture.logit_block(rows) - bias)).sum(1)
            for rows in capture.row_blocks()
        ]
    )
    weight_norm = torch.linalg.vector_norm(capture.weight, dtype=capture.dtype)
    norms = gradient(capture, target) * weight_norm
    gamma = torch.where(norms > 0, -dots / norms, 0.0)
    deviation = gamma - gamma.mean()
    kurtosis = deviation.pow(4).mean() / deviation.square().mean().square() - 3
    return gamma.mean() / (kurtosis + 1.2)


PROJECTIONS: dict[str, Projection] = {
    "gradient": gradient,
    "batch_gradient": batch_gradient,
    "centred_batch_gradient": centred_batch_gradient,
    "divergence": divergence,
    "agreement": agreement,
    "jensen_shannon": jensen_shannon,
    "quasinorm_batch_gradient": quasinorm_batch_gradient,
    "ood_gradient": ood_gradient,
    "sharpness": sharpness,
    "gwa": gwa,
}
