"""Flow: how much passes through an untrained network on all its paths."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from prescreen.heads.execute import call
from prescreen.heads.find import is_layer, unwrap
from prescreen.trees import map_tensors, tensors_in


def synflow(model: nn.Module, inputs: Any, head: str | None = None) -> float:
    """Log Σ_w w · ∂R/∂w with R the sum of the outputs for an input of ones: flow over all paths.

    Weights w of linear layers and convolutions count with their absolute values. Normalization layers
    are skipped. Other parameters are set to one (scales, embedded tokens) or zero (biases, positions).
    R is then the sum over all paths of the products along them, and doubles with the input. If it does
    not, because the network multiplies features with one another, the value is NaN.

    References: Tanaka et al. 2020, arXiv 2006.05467; as a score, Abdelfattah et al. 2021, arXiv
    2101.08134. This is the logarithm of that score.
    """
    twin = copy.deepcopy(unwrap(model)).double().eval()
    for module in twin.modules():
        module.register_forward_hook(_pass_by_norms)
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    weights = _all_positive(twin)
    one = map_tensors(inputs, lambda tensor: tensor[:1])
    with torch.enable_grad():
        flow = _total(call(twin, map_tensors(one, lambda tensor: _filled(tensor, 1.0))))
        gradients = torch.autograd.grad(flow, weights, allow_unused=True)
    with torch.no_grad():
        for embedding in (m for m in twin.modules() if isinstance(m, nn.Embedding)):
            embedding.weight.mul_(2)
        twice = _total(call(twin, map_tensors(one, lambda tensor: _filled(tensor, 2.0))))
    if not 1.9 * flow.item() <= twice.item() <= 2.1 * flow.item():
        return math.nan
    pairs = zip(weights, gradients, strict=True)
    total = sum((w.detach() * g).sum().item() for w, g in pairs if g is not None)
    return math.log(total) if total > 0 else -math.inf


def _all_positive(model: nn.Module) -> list[Tensor]:
    """Make weights positive and other parameters neutral; returns the weights."""
    weights = [
        parameter
        for module in model.modules()
        if is_layer(module) or isinstance(module, nn.MultiheadAttention)
        for parameter in module.parameters(recurse=False)
        if parameter.ndim > 1
    ]
    ours = {id(weight) for weight in weights}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if id(parameter) in ours:
                parameter.abs_().requires_grad_()
            else:
                added = any(part in name for part in ("bias", "pos", "token"))
                parameter.fill_(0.0 if added else 1.0)
    return list({id(weight): weight for weight in weights}.values())


def _pass_by_norms(module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensor | None:
    """Skip a normalization layer, which would divide the flow out again: return its input."""
    entered = args[0] if args else None
    if not isinstance(entered, Tensor) or not isinstance(output, Tensor):
        return None
    same = "Norm" in type(module).__name__ and entered.shape == output.shape
    return entered.clone() if same else None  # what comes next may change it in place


def _total(output: Any) -> Tensor:
    return torch.stack([t.sum() for t in tensors_in(output) if t.is_floating_point()]).sum()


def _filled(tensor: Tensor, value: float) -> Tensor:
    return torch.full_like(tensor.double(), value) if tensor.is_floating_point() else tensor
