"""AZ-NAS: four proxies of one network, and their ranks in a population as one score."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import torch
from scipy.stats import rankdata
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.baselines.networks import flops, weighted_layers, with_batch_statistics

PARTS = ("expressivity", "progressivity", "trainability", "complexity")


def az_nas(
    model: nn.Module,
    image_shape: tuple[int, int, int],
    *,
    seed: int = 0,
    samples: int = 64,
    blocks: Sequence[str] | None = None,
) -> dict[str, float]:
    """The four parts, each higher for better networks; `az_nas_scores` makes a score of them.

    No data: inputs are Gaussian noise. Weights are redrawn from He's normal distribution. With
    f_0 what enters the first block and f_l what leaves the l-th, as N·H·W points in C dimensions:

    - expressivity Σ_l e_l, e_l = −Σ_c p_c log p_c with p the eigenvalues of f_l's covariance
      divided by their sum;
    - progressivity min_l (e_l − e_{l−1});
    - trainability mean_l (2 − σ_l − 1/σ_l), with σ_l the largest singular value of
      E[(J_lᵀv) vᵀ], v random signs, E over samples and places, J_l the block's Jacobian: 0 if it
      keeps the gradient's size, else less, and −∞ for a block that does nothing at all;
    - complexity: `flops`.

    NaN where a block's output is constant.

    Reference: Lee & Ham 2024, arXiv 2403.19232; noise, initialisation and the two numerical
    constants as in the authors' experiments.

    Args:
        model: a convolutional network.
        image_shape: (C, H, W).
        seed: of weights, inputs and signs.
        samples: N.
        blocks: paths of the blocks, each executed once, one after the other; None takes the
            model's children that have children of their own.

    Raises:
        ValueError: no block that takes and returns (N, C, H, W).
    """
    generator = torch.Generator().manual_seed(seed)
    twin = with_batch_statistics(model)
    _initialise(twin, generator)
    modules = _blocks(twin) if blocks is None else [twin.get_submodule(path) for path in blocks]
    device = next(twin.parameters()).device
    passed: list[tuple[Tensor, Tensor]] = []
    for module in twin.modules():
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]  # recorded tensors must stay what they were
    for module in modules:
        module.register_forward_pre_hook(_cut)
        module.register_forward_hook(_recorder(passed))
    with torch.enable_grad():
        twin(torch.randn(samples, *image_shape, generator=generator).to(device))
    if not passed:
        raise ValueError(f"`blocks` must have (N, C, H, W) outputs, got {blocks!r}")
    entropies = [_entropy(f.detach()) for f in (passed[0][0], *(after for _, after in passed))]
    steps = [after - before for before, after in itertools.pairwise(entropies)]
    trainability = [_trainability(before, after, generator) for before, after in passed]
    return {
        "expressivity": math.fsum(entropies),
        "progressivity": math.nan if any(map(math.isnan, steps)) else min(steps),
        "trainability": sum(trainability) / len(trainability),
        "complexity": flops(model, image_shape),
    }


def az_nas_scores(parts: Sequence[Mapping[str, float]]) -> list[float]:
    """Σ over the four parts of log(rank / m), for each of m networks. Higher is better.

    The best has rank m, ties share their mean rank, and NaN ranks last.

    Args:
        parts: what `az_nas` returned for each network of the population.
    """
    scores = [0.0] * len(parts)
    for part in PARTS:
        values = [-math.inf if math.isnan(p[part]) else p[part] for p in parts]
        for index, rank in enumerate(rankdata(values)):
            scores[index] += math.log(rank / len(parts))
    return scores


def _blocks(model: nn.Module) -> list[nn.Module]:
    return [child for child in model.children() if any(child.children())]


def _initialise(model: nn.Module, generator: torch.Generator) -> None:
    with torch.no_grad():
        for layer in weighted_layers(model):
            fresh = torch.empty(layer.weight.shape)
            nn.init.kaiming_normal_(fresh, nonlinearity="relu", generator=generator)
            layer.weight.copy_(fresh)
            if layer.bias is not None:
                layer.bias.zero_()


def _cut(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Let every block begin its own graph."""
    return (arguments[0].detach().requires_grad_(), *arguments[1:])


def _recorder(passed: list[tuple[Tensor, Tensor]]) -> Callable[..., None]:
    def record(module: nn.Module, arguments: tuple[Tensor, ...], output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == arguments[0].ndim == 4:
            passed.append((arguments[0], output))

    return record


def _entropy(features: Tensor) -> float:
    points = features.movedim(1, -1).flatten(0, -2).double()
    covariance = torch.atleast_2d(points.T.cov(correction=0))
    if not covariance.isfinite().all():
        return math.nan
    values = torch.linalg.eigvalsh(covariance)
    shares = values / values.sum()
    return -(shares * (shares + 1e-8).log()).sum().item()


def _trainability(before: Tensor, after: Tensor, generator: torch.Generator) -> float:
    signs = torch.randint(2, after.shape, generator=generator).to(after) * 2 - 1
    gradient = torch.zeros_like(before)
    if after.requires_grad:  # else nothing that enters the block reaches its output
        (gradient,) = torch.autograd.grad(
            after, before, signs, allow_unused=True, materialize_grads=True
        )
    if gradient.shape == signs.shape and torch.equal(gradient, signs):
        return -math.inf
    rows = _places(gradient, after.shape[-2:]), _places(signs, after.shape[-2:])
    sigma = torch.linalg.matrix_norm(rows[0].T @ rows[1] / len(rows[1]), ord=2).item()
    return 2 - sigma - 1 / (sigma + 1e-6)


def _places(x: Tensor, size: torch.Size) -> Tensor:
    """Rows (N·H·W, C); where a block reduces the resolution, the pixels of one place are channels."""
    factor = math.ceil(x.shape[-1] / size[-1])
    missing = [factor * to - have for to, have in zip(size, x.shape[-2:], strict=True)]
    padded = F.pad(x, (0, missing[1], 0, missing[0]))
    return F.pixel_unshuffle(padded, factor).movedim(1, -1).flatten(0, -2)
