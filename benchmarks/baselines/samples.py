"""Proxies that ask how differently an untrained network treats the samples of a batch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks.baselines.networks import parameters, weighted_layers, with_batch_statistics
from prescreen.predictions import model_logits

SWAP_PARTS = ("patterns", "size")


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


def swap(
    model: nn.Module, inputs: Tensor, *, samples: int = 16, draws: int = 8, seed: int = 0
) -> float:
    """The number of sample-wise activation patterns, a mean over draws of weights. Higher is better.

    The pattern of a unit, one place in one channel of a ReLU's feature map, has one bit for every
    sample: whether the unit is active. Counted are the distinct patterns of all units, so at most
    2^samples and at most as many as there are units. For each draw all weights are taken from the
    standard normal distribution, and biases are set to 0. Normalizations neither scale nor shift. NaN
    if weights of this size overflow.

    Reference: Peng et al. 2024, arXiv 2403.04161, definitions 3.2 and 3.3; samples and initialisation
    as in the authors' code, which takes 32 draws.

    Args:
        model: a convolutional network.
        inputs: (N, C, H, W).
        samples: how many of them, the first ones; at most 63.
        draws: of weights.
        seed: of the weights.

    Raises:
        ValueError: no ReLU module was executed on feature maps.
    """
    twin = with_batch_statistics(model)
    taken = inputs[:samples]
    bits = 2 ** torch.arange(len(taken), device=inputs.device)
    patterns: list[Tensor] = []
    finite = True

    def add(module: nn.Module, arguments: object, output: Tensor) -> None:
        nonlocal finite
        finite = finite and bool(output.isfinite().all())
        if output.ndim == 4:
            patterns.append(((output > 0).flatten(1) * bits[:, None]).sum(0).unique())

    for module in twin.modules():
        if isinstance(module, (nn.ReLU, nn.ReLU6)):
            module.register_forward_hook(add)
    generator, counts = torch.Generator().manual_seed(seed), []
    for _ in range(draws):
        _standard_normal(twin, generator)
        patterns.clear()
        with torch.no_grad():
            twin(taken)
        if not patterns:
            name = type(model).__name__
            raise ValueError(f"`model` must execute ReLU modules on feature maps, {name} has none")
        counts.append(len(torch.cat(patterns).unique()))
    return sum(counts) / draws if finite else math.nan


def swap_and_size(model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """`swap` and the number of parameters, of which `regularised_swap_scores` makes a score."""
    return dict(zip(SWAP_PARTS, (swap(model, inputs), parameters(model)), strict=True))


def regularised_swap_scores(parts: Sequence[Mapping[str, float]]) -> list[float]:
    """Log of patterns · exp(−(Θ − μ)²/σ), for each network of a population. Higher is better.

    Θ is the number of parameters. The paper sets μ = σ to the size that is searched for. In a ranking
    none is, so the sizes are relative to the largest network of the population, and μ = σ = 1.

    Reference: Peng et al. 2024, arXiv 2403.04161, definitions 3.4 and 3.5.

    Args:
        parts: what `swap_and_size` returned for each network of the population; NaN gives NaN.
    """
    largest = max((part["size"] for part in parts if part["size"] > 0), default=math.nan)
    return [math.log(part["patterns"]) - (part["size"] / largest - 1) ** 2 for part in parts]


def _standard_normal(model: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for layer in weighted_layers(model):
            drawn = torch.randn(layer.weight.shape, generator=generator)
            layer.weight.copy_(drawn)
            if layer.bias is not None:
                layer.bias.zero_()
        for module in model.modules():
            if isinstance(module, (_BatchNorm, nn.GroupNorm)) and module.affine:
                module.weight.fill_(1)
                module.bias.zero_()
