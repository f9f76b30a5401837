"""Linear: activations replaced by linear ones, for networks that are not positively homogeneous."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

# For large inputs these are the identity or a multiple of it; at the end of a network log-softmax
# stands for the logits that enter it.
_RISING = {
    *("celu", "elu", "gelu", "hardshrink", "hardswish", "log_sigmoid", "log_softmax", "logsigmoid"),
    *("mish", "relu6", "selu", "silu", "softplus", "softshrink", "tanhshrink"),
}
# Bounded ones: in a row of layers the identity, as near the origin; as factors of features, gates.
_BOUNDED = {"erf", "hardsigmoid", "hardtanh", "sigmoid", "softsign", "special_expit", "tanh"}


class Linearized(TorchFunctionMode):
    """Inside, activations pass on what enters them, wherever and however the network calls them.

    Attention is even: all tokens of an input of ones are equal, and rounding must not choose among them.

    Args:
        gates: bounded activations are open gates instead: they give one.
    """

    def __init__(self, *, gates: bool) -> None:
        super().__init__()
        self._gates = gates
        self._shares: list[tuple[Tensor, Tensor]] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch, or what stands for it."""
        name, kwargs = getattr(func, "__name__", "").rstrip("_"), dict(kwargs or {})
        if name in _BOUNDED and self._gates:
            return torch.ones_like(_entered(args, kwargs))
        if name in _RISING or name in _BOUNDED:
            return _entered(args, kwargs).clone()  # what comes next may change it in place
        if name == "softmax":
            entered = _entered(args, kwargs)
            even = torch.where(entered.isinf(), entered, 0.0).softmax(_axis(args, kwargs))
            self._shares.append((even, entered))
            return even
        if name == "scaled_dot_product_attention":
            query, key, *others = args
            return func(query * 0, key * 0, *others, **kwargs)
        return func(*args, **kwargs)

    def logits(self, output: Tensor) -> Tensor:
        """What entered the softmax that a network ends with; other outputs as they are."""
        return next((entered for even, entered in self._shares if even is output), output)


def attend_evenly(model: nn.Module) -> None:
    """The same for torch's own attention, which calls everything at once: no queries and keys."""
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.MultiheadAttention):
                joint = module._parameters["in_proj_weight"]  # None if they differ in width
                if joint is not None:
                    joint[: 2 * module.embed_dim] = 0
                else:
                    module.q_proj_weight.zero_()
                    module.k_proj_weight.zero_()


def _entered(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    entered: Tensor = args[0] if args else kwargs["input"]
    return entered


def _axis(args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    axis = args[1] if len(args) > 1 else kwargs.get("dim")
    return -1 if axis is None else int(axis)
