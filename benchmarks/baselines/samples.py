"""Proxies that ask how differently an untrained network treats the samples of a batch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.baselines.networks import with_batch_statistics
from prescreen.predictions import model_logits


def jacob_cov(model: nn.Module, inputs: Tensor) -> float:
    """−Σ_i [log(λ_i + k) + 1/(λ_i + k)], k = 10⁻⁵. Higher is better.

    λ are the eigenvalues of the correlation matrix (N, N) of the input gradients
    ∂(Σ_k a_nk)/∂x_n, a the logits. NaN if a gradient is zero, as it is when logits do not
    depend on the image.

    Reference: Mellor et al. 2020, arXiv 2006.04647v1.
    """
    twin = with_batch_statistics(model)
    with torch.enable_grad():
        x = inputs.detach().clone().requires_grad_()
        total = model_logits(twin(x)).sum()
    (jacobian,) = torch.autograd.grad(total, x, allow_unused=True, materialize_grads=True)
    correlation = torch.corrcoef(jacobian.flatten(1).double())
    if not correlation.isfinite().all():
        return float("nan")
    shifted = torch.linalg.eigvalsh(correlation) + 1e-5
    return -(shifted.log() + 1 / shifted).sum().item()


def naswot(model: nn.Module, inputs: Tensor) -> float:
    """Log |det K|, K_ij = number of ReLU units − Hamming distance of their codes. Higher is better.

    The code of a sample has one bit for every unit of every ReLU: whether it is active. −∞ if two
    samples have the same code.

    Reference: Mellor et al. 2021, arXiv 2006.04647v2.

    Raises:
        ValueError: no ReLU module was executed.
    """
    twin = with_batch_statistics(model)
    kernel = torch.zeros(len(inputs), len(inputs), dtype=torch.float64)
    executed = 0

    def add(module: nn.Module, arguments: object, output: Tensor) -> None:
        nonlocal executed
        executed += 1
        active = (output > 0).flatten(1).float()
        # Exact: counts below 2²⁴ are integers in float32.
        agreeing = active @ active.T + (1 - active) @ (1 - active).T
        kernel.add_(agreeing.cpu())

    for module in twin.modules():
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.register_forward_hook(add)
    with torch.no_grad():
        twin(inputs)
    if not executed:
        raise ValueError(f"`model` must execute ReLU modules, {type(model).__name__} has none")
    return torch.linalg.slogdet(kernel).logabsdet.item()
