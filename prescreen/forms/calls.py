"""Calls: the arguments of an operation of torch, tensors apart from all others."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from prescreen.forms.graph import Node, Operand

_PLAIN: tuple[type, ...] = (
    *(type(None), bool, int, float, complex, str),
    *(torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size),
)
# The first operand's values do not matter: it is written over.
_OVERWRITE = {"uniform_", "normal_", "fill_", "zero_", "copy_", "bernoulli_", "exponential_"}
_OVERWRITE |= {"random_", "log_normal_", "cauchy_", "geometric_"}


class NotComparable(Exception):
    """What a network computes cannot be told from its operations; the message says why."""


class Call:
    """The arguments of an operation: tensors as operands, all others as a text.

    Args:
        name: of the operation.
        given: its arguments by name.
        node_of: gives the value of a tensor.
    """

    def __init__(
        self, name: str, given: Mapping[str, Any], node_of: Callable[[Tensor], Node]
    ) -> None:
        self.operands: list[Operand] = []
        self.learns = False
        self.scalars = {key: one for key, one in given.items() if isinstance(one, int | float)}
        self._given = given
        grad = torch.is_grad_enabled()

        def operand(tensor: Tensor) -> str:
            learns = grad and tensor.requires_grad
            self.learns = self.learns or learns
            if name in _OVERWRITE and not self.operands and tensor is first:
                return form_of(tensor)
            self.operands.append(Operand(node_of(tensor), learns))
            return "%"

        first = next(iter(given.values()), None)
        self.attributes = " ".join(f"{key}={_text(one, operand)}" for key, one in given.items())

    def draws(self) -> bool:
        """Whether an operation that can draw does: one that drops out nothing does not."""
        share = self._given.get("dropout_p", self._given.get("p", 1))
        train = self._given.get("train", True)
        return bool(share) and train is not False


def form_of(tensor: Tensor) -> str:
    """Shape and type."""
    return f"{str(tensor.dtype).removeprefix('torch.')}{[*tensor.shape]}"


def digest_of(tensor: Tensor) -> str:
    """A digest of all values."""
    plain = tensor.detach().cpu().contiguous().flatten()
    content = plain.view(torch.uint8).numpy().tobytes() if plain.numel() else b""
    return hashlib.sha256(content).hexdigest()[:16]


def _text(value: Any, operand: Callable[[Tensor], str]) -> str:
    if isinstance(value, Tensor):
        return operand(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_text(one, operand) for one in value)}]"
    if isinstance(value, torch.Generator):
        return f"generator {value.initial_seed()}"
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        return str(int(value))
    if isinstance(value, _PLAIN):
        return repr(value)
    raise NotComparable(f"an operation with a {type(value).__name__}")
