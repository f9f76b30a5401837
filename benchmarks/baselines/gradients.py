"""Proxies that look at the gradient of the weights."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.baselines.networks import weighted_layers, weights, with_batch_statistics
from prescreen.predictions import model_logits


def grad_norm(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Σ_l ‖∂L/∂W_l‖_F, L the mean cross-entropy of one batch. Higher is better.

    Reference: Abdelfattah et al. 2021, arXiv 2101.08134.
    """
    twin = with_batch_statistics(model)
    return sum(g.norm().item() for g in _gradients(twin, inputs, labels))


def snip(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Σ_w |w · ∂L/∂w| over the weights, L the mean cross-entropy of one batch. Higher is better.

    References: Lee et al. 2019, arXiv 1810.02340 (connection sensitivity of one weight);
    Abdelfattah et al. 2021, arXiv 2101.08134 (its sum as a score).
    """
    twin = with_batch_statistics(model)
    pairs = zip(weights(twin), _gradients(twin, inputs, labels), strict=True)
    return sum((w * g).abs().sum().item() for w, g in pairs)


def synflow(model: nn.Module, image_shape: tuple[int, int, int]) -> float:
    """Σ_w w · ∂R/∂w with R = 1ᵀ(Π_l |W_l|)1: the flow through all paths. Higher is better.

    No data: R is the sum of the logits for an image of ones in a network of absolute weights. As in
    the paper, the network is made linear: biases are removed, and BatchNorm, which would cancel the
    flow. Activations break this unless, like ReLU, they are the identity on positive numbers. In
    float64, because R grows exponentially with depth.

    References: Tanaka et al. 2020, arXiv 2006.05467; Abdelfattah et al. 2021, arXiv 2101.08134
    (its sum as a score, and without BatchNorm).
    """
    twin = copy.deepcopy(model).double().eval().requires_grad_()
    for parent in list(twin.modules()):
        for name, child in parent.named_children():
            if isinstance(child, _BatchNorm):
                setattr(parent, name, nn.Identity())
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.abs_()
        for layer in weighted_layers(twin):
            if layer.bias is not None:
                layer.bias.zero_()
    ones = torch.ones(1, *image_shape, dtype=torch.float64, device=next(twin.parameters()).device)
    with torch.enable_grad():
        flow = model_logits(twin(ones)).sum()
    gradients = _of_weights(twin, flow)
    return sum((w * g).sum().item() for w, g in zip(weights(twin), gradients, strict=True))


def zico(model: nn.Module, batches: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Σ_l log Σ_w mean|∂L/∂w| / std|∂L/∂w|, taken over batches. Higher is better.

    Weights whose gradient is the same in all batches are left out, because their ratio is undefined.
    So are layers with only such weights, for example layers that are never executed. The network's
    weights are the same for all batches.

    Reference: Li et al. 2023, arXiv 2301.11300.

    Raises:
        ValueError: fewer than two batches; the paper takes two.
    """
    if len(batches) < 2:
        raise ValueError(f"`batches` must be at least 2, got {len(batches)}")
    twin = with_batch_statistics(model)
    magnitudes = [[g.double().abs() for g in _gradients(twin, *batch)] for batch in batches]
    score = 0.0
    for layer in zip(*magnitudes, strict=True):
        stacked = torch.stack(layer)
        deviation = stacked.std(0, correction=0)
        varying = deviation > 0
        if varying.any():
            score += (stacked.mean(0)[varying] / deviation[varying]).sum().log().item()
    return score


def _gradients(twin: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
    """The gradient of the mean cross-entropy with respect to every weight."""
    with torch.enable_grad():
        loss = F.cross_entropy(model_logits(twin(inputs)), labels)
    return _of_weights(twin, loss)


def _of_weights(twin: nn.Module, scalar: Tensor) -> tuple[Tensor, ...]:
    # Layers that are never executed have a gradient of zero.
    return torch.autograd.grad(scalar, weights(twin), allow_unused=True, materialize_grads=True)
