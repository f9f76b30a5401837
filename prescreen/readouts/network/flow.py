"""Flow: how much passes through an untrained network on all its paths."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from prescreen.heads.execute import call
from prescreen.heads.layers import is_layer
from prescreen.heads.wrappers import unwrap
from prescreen.random_state import undisturbed
from prescreen.readouts.network.linear import Linearized, attend_evenly
from prescreen.readouts.network.undefined import UndefinedMeasure, undefined_if_it_fails
from prescreen.trees import first_sample, map_tensors, tensors_in

# All paths of positive weights are positive: parts below zero, up to this share, are from rounding.
_ROUNDING = 0.01


class _Flow(NamedTuple):
    """Σ_w w · ∂R/∂w, and the sum of its parts below zero, with the other sign."""

    total: float
    rounded: float


def synflow(model: nn.Module, inputs: Any, head: str | None = None) -> float:
    """Log Σ_w w · ∂R/∂w with R the sum of the outputs for an input of ones: flow over all paths.

    Weights w of linear layers and convolutions count with their absolute values. Normalization layers
    are skipped. Other parameters are set to one (scales, embedded tokens) or zero (biases, positions).
    R is then the sum over all paths of the products along them, and doubles with the input. If it does
    not, or if there is nothing but rounding, activations are replaced by linear ones (`Linearized`).
    If it still does not, because the network multiplies features with one another, the value is NaN.
    −∞ means that nothing flows.

    References: Tanaka et al. 2020, arXiv 2006.05467; as a score, Abdelfattah et al. 2021, arXiv
    2101.08134. This is the logarithm of that score.

    Raises:
        UndefinedMeasure: the network cannot be copied, or does not run on an input of ones.
    """
    with undefined_if_it_fails():
        twin = copy.deepcopy(unwrap(model)).double().eval()
    for module in twin.modules():
        module.register_forward_hook(_pass_by_norms)
        if getattr(module, "inplace", False) is True:
            module.inplace = False  # type: ignore[assignment]
    weights = _all_positive(twin)
    one = first_sample(inputs)
    plain = _flow(twin, one, weights, None)
    if plain is None or plain.total <= 0 or plain.rounded > _ROUNDING * plain.total:
        attend_evenly(twin)
        for gates in (False, True):
            linear = _flow(twin, one, weights, Linearized(gates=gates))
            if linear is not None and linear.rounded <= _ROUNDING * linear.total:
                return _log(linear.total)
    return math.nan if plain is None or plain.total < 0 else _log(plain.total)


def _flow(
    twin: nn.Module, one: Any, weights: list[Tensor], linear: Linearized | None
) -> _Flow | None:
    """The flow through a network of positive weights; None if it does not double with the input."""

    def outputs(value: float) -> Tensor:
        filled = map_tensors(one, lambda tensor: _filled(tensor, value))
        with undefined_if_it_fails(), undisturbed(twin), linear or nullcontext():
            output = call(twin, filled)
        if isinstance(output, list) and any(isinstance(part, Mapping) for part in output):
            raise UndefinedMeasure("detections are chosen: they do not double with the input")
        every = [t for t in tensors_in(output) if t.is_floating_point()]
        if not every or not weights:
            raise UndefinedMeasure("nothing flows through weights to an output")
        return torch.stack([(linear.logits(t) if linear else t).sum() for t in every]).sum()

    with torch.enable_grad():
        flow = outputs(1.0)
        if not flow.requires_grad:
            raise UndefinedMeasure("nothing flows through weights to an output")
        gradients = torch.autograd.grad(flow, weights, allow_unused=True)
    embeddings = [m for m in twin.modules() if isinstance(m, nn.Embedding)]
    with torch.no_grad():
        for embedding in embeddings:
            embedding.weight.mul_(2)
        twice = outputs(2.0)
        for embedding in embeddings:
            embedding.weight.div_(2)
    if not 1.9 * flow.item() <= twice.item() <= 2.1 * flow.item():
        return None
    pairs = zip(weights, gradients, strict=True)
    parts = [w.detach() * g for w, g in pairs if g is not None]
    below = sum(part.clamp(max=0).sum().item() for part in parts)
    return _Flow(sum(part.sum().item() for part in parts), -below)


def _log(total: float) -> float:
    return math.log(total) if total else -math.inf


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


def _filled(tensor: Tensor, value: float) -> Tensor:
    return torch.full_like(tensor.double(), value) if tensor.is_floating_point() else tensor
