"""Statistics: projections that need no anchor, from predictions or features alone.

As in projections.py, shape (N,) is a mean over samples and shape () belongs to the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from prescreen.captured import Capture
from prescreen.readouts.anchors import require_link
from prescreen.readouts.curvature import (
    curvature_largest,
    curvature_rank,
    curvature_trace,
    fisher_trace,
    sharpness_second_order,
)
from prescreen.readouts.linear_algebra import gram, gram_singular_values, singular_values
from prescreen.readouts.residuals import centred

# Beyond these, `nuclear` and `cot` are of an even sample: they cost N·K·min(N, K) and N³.
_NUCLEAR_PREDICTIONS, _COT_SAMPLES = 1 << 24, 1 << 12


def entropy(capture: Capture) -> Tensor:
    """H(p_i), for sigmoid links summed over classes; shape (N,), in nats."""
    require_link("readout 'entropy'", capture, "softmax", "sigmoid")

    def block(rows: slice) -> Tensor:
        p, logits = capture.predictions(rows), capture.logit_block(rows)
        if capture.link == "softmax":
            return (p * (capture.log_partition[rows, None] - logits)).sum(1)
        return -(p * logsigmoid(logits) + (1 - p) * logsigmoid(-logits)).sum(1)

    return _over_rows(capture, block)


def confidence(capture: Capture) -> Tensor:
    """max_k p_ik; for sigmoid links the mean over classes of max(p, 1 − p); shape (N,)."""
    require_link("readout 'confidence'", capture, "softmax", "sigmoid")
    if capture.link == "softmax":
        return (capture.logits.amax(1).to(capture.dtype) - capture.log_partition).exp()
    return _over_rows(capture, lambda rows: capture.logit_block(rows).abs().sigmoid().mean(1))


def margin(capture: Capture) -> Tensor:
    """Gap between the two largest p; for sigmoid links the mean of |2p − 1|; shape (N,)."""
    require_link("readout 'margin'", capture, "softmax", "sigmoid")

    def block(rows: slice) -> Tensor:
        if capture.link == "softmax":
            top = capture.predictions(rows).topk(2, dim=1).values
            return top[:, 0] - top[:, 1]
        return (2 * capture.predictions(rows) - 1).abs().mean(1)

    return _over_rows(capture, block)


def energy(capture: Capture) -> Tensor:
    """Log Σ_k exp(a_k), the negative free energy; for sigmoid links Σ_k log(1 + exp a_k); (N,).

    Reference: Peng et al. 2024, "Energy-based automated model evaluation" (ICLR).
    """
    require_link("readout 'energy'", capture, "softmax", "sigmoid")
    if capture.link == "softmax":
        return capture.log_partition
    return _over_rows(capture, lambda rows: softplus(capture.logit_block(rows)).sum(1))


def mde(capture: Capture) -> Tensor:
    """Meta-distribution energy: log of −mean over samples of log-softmax, across samples, of −E.

    Reference: Peng et al. 2024, "Energy-based automated model evaluation" (ICLR).
    """
    require_link("readout 'mde'", capture, "softmax", "sigmoid")
    return (-energy(capture)).log_softmax(0).mean().neg().log()


def nuclear(capture: Capture) -> Tensor:
    """‖P‖_* / √(N·min(N, K)): confident and diverse predictions, in (0, 1].

    If N·K is above 2²⁴, of as many samples as it takes to stay below, spread evenly.

    Reference: Deng et al. 2023, "Confidence and dispersity speak" (ICML).
    """
    require_link("readout 'nuclear'", capture, "softmax", "sigmoid")
    capture = capture.at_most(_NUCLEAR_PREDICTIONS // capture.num_classes)
    smaller = min(capture.num_samples, capture.num_classes)
    total = gram_singular_values(_prediction_gram(capture)).sum()
    return total / (capture.num_samples * smaller) ** 0.5


def softmax_corr(capture: Capture) -> Tensor:
    """Cosine of the class correlation PᵀP / N with diag(p̄), the reference of certain predictions.

    Reference: Tu et al. 2024, arXiv 2406.09908.
    """
    require_link("readout 'softmax_corr'", capture, "softmax")
    prior = capture.mean_prediction
    diagonal = torch.zeros_like(prior)
    for rows in capture.row_blocks():
        diagonal += capture.predictions(rows).square().sum(0)
    # ‖PᵀP‖_F = ‖PPᵀ‖_F: the smaller of the two serves.
    size = torch.linalg.matrix_norm(_prediction_gram(capture))
    return (diagonal @ prior) / (size * torch.linalg.vector_norm(prior))


def mano(capture: Capture) -> Tensor:
    """‖S‖₄ / (N·K)^¼ with S the softmax if Φ > 5, else a row-normalised quadratic of the logits.

    Φ is the mean over samples of −(1/K) Σ_k log p_k.

    Reference: Xie et al. 2024, arXiv 2405.18979.
    """
    require_link("readout 'mano'", capture, "softmax")
    mean_logits = _over_rows(capture, lambda rows: capture.logit_block(rows).mean(1))
    certain = bool((capture.log_partition - mean_logits).mean() > 5)

    def block(rows: slice) -> Tensor:
        s = capture.predictions(rows) if certain else _quadratic(capture.logit_block(rows))
        return s.pow(4).sum(1)

    return _over_rows(capture, block).mean().div(capture.num_classes).pow(0.25)


def cot(capture: Capture) -> Tensor:
    """Optimal transport, cost ½‖e_k − p_i‖₁, from equally many labels per class to predictions.

    Exact by assignment, O(N³), of at most 4,096 samples, spread evenly. Each class gets N/K labels; the
    most predicted ones get the remainder.

    Reference: Lu et al. 2023, arXiv 2305.15640.
    """
    from scipy.optimize import linear_sum_assignment  # late: importing prescreen stays light

    require_link("readout 'cot'", capture, "softmax")
    capture = capture.at_most(_COT_SAMPLES)
    n, k = capture.num_samples, capture.num_classes
    order = capture.mean_prediction.argsort(descending=True, stable=True)
    targets = torch.cat([order.repeat(n // k), order[: n % k]])
    agreement = torch.cat([capture.predictions(rows)[:, targets] for rows in capture.row_blocks()])
    cost = 1 - agreement.double().cpu().numpy()
    chosen = cost[linear_sum_assignment(cost)]
    return capture.mean_prediction.new_tensor(chosen.mean())


def dispersion(capture: Capture) -> Tensor:
    """Log of the mean squared distance, weighted by size, of pseudo-class means to the mean of Z.

    −inf if all samples fall into one class.

    Reference: Xie et al. 2023, arXiv 2303.15488.
    """
    require_link("readout 'dispersion'", capture, "softmax")
    return _between_classes(capture, centred(capture.features.to(capture.dtype))).log()


def separation(capture: Capture) -> Tensor:
    """Share of the features' variance that lies between pseudo-classes, in [0, 1].

    ``dispersion``, before its logarithm, divided by the total variance. It does not depend on the scale
    of features, which differs between architectures. 0 if all samples fall into one class.

    Reference: after Xie et al. 2023, arXiv 2303.15488.
    """
    require_link("readout 'separation'", capture, "softmax")
    z = centred(capture.features.to(capture.dtype))
    variance = torch.linalg.vector_norm(z).square() / capture.num_samples
    return _between_classes(capture, z) / variance


def rankme(capture: Capture) -> Tensor:
    """Exp of the entropy of the singular values of Z over their sum: an effective rank.

    Reference: Garrido et al. 2023, arXiv 2210.02885.
    """
    sigma = singular_values(capture.features.to(capture.dtype))
    share = sigma / sigma.sum()
    return torch.special.entr(share).sum().exp()


def _between_classes(capture: Capture, z: Tensor) -> Tensor:
    """Mean squared norm of the pseudo-class means of centred features, weighted by class size."""
    _, members, sizes = capture.logits.argmax(1).unique(return_inverse=True, return_counts=True)
    if len(sizes) == 1:
        return z.new_zeros(())  # exactly 0, without the rounding error of the mean
    sums = z.new_zeros(len(sizes), z.shape[1]).index_add_(0, members, z)
    return (torch.linalg.vector_norm(sums, dim=1).square() / sizes).sum() / capture.num_samples


def _over_rows(capture: Capture, block: Callable[[slice], Tensor]) -> Tensor:
    return torch.cat([block(rows) for rows in capture.row_blocks()])


def _prediction_gram(capture: Capture) -> Tensor:
    n, k = capture.num_samples, capture.num_classes
    if n <= k:
        return gram(n, (capture.predictions(classes=c) for c in capture.class_blocks()))
    return gram(k, (capture.predictions(rows).T for rows in capture.row_blocks()))


def _quadratic(logits: Tensor) -> Tensor:
    values = 1 + logits + logits.square() / 2
    values = values - values.amin(1, keepdim=True)
    total = values.sum(1, keepdim=True)
    # Equal logits leave nothing to normalise: such a row is uniform.
    return torch.where(total > 0, values / total, 1 / logits.shape[1])


class Statistic(NamedTuple):
    """A readout of the head that needs no anchor.

    Args:
        function: of a capture; its values have shape (), or (N,) if the readout is their mean.
        better: which way is good, "higher" or "lower".
        reference: where it was published.
        degree: the power to which normalizations are raised that it is divided by.
    """

    function: Callable[[Capture], Tensor]
    better: str
    reference: str
    degree: int = 1


STATISTICS: dict[str, Statistic] = {
    "entropy": Statistic(entropy, "lower", "2601.16874 v2"),
    "confidence": Statistic(confidence, "higher", "2601.16874 v2"),
    "margin": Statistic(margin, "higher", "2601.16874 v2"),
    "nuclear": Statistic(nuclear, "higher", "ICML 2023, Deng et al."),
    "softmax_corr": Statistic(softmax_corr, "higher", "2406.09908"),
    "mano": Statistic(mano, "higher", "2405.18979"),
    "cot": Statistic(cot, "lower", "2305.15640"),
    "energy": Statistic(energy, "higher", "ICLR 2024, Peng et al."),
    "mde": Statistic(mde, "higher", "ICLR 2024, Peng et al."),
    "dispersion": Statistic(dispersion, "higher", "2303.15488"),
    "separation": Statistic(separation, "higher", "after 2303.15488"),
    "rankme": Statistic(rankme, "higher", "2210.02885"),
    "fisher_trace": Statistic(fisher_trace, "lower", "Hessian of the cross-entropy"),
    "curvature_trace": Statistic(curvature_trace, "lower", "Hessian of the cross-entropy", 2),
    "curvature_largest": Statistic(curvature_largest, "lower", "Hessian of the cross-entropy", 2),
    "curvature_rank": Statistic(curvature_rank, "lower", "Hessian of the cross-entropy", 0),
    "sharpness_second_order": Statistic(sharpness_second_order, "lower", "after 2010.01412", 2),
}
