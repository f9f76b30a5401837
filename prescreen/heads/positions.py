"""Positions: inputs and outputs of a head as the rows of a linear map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from prescreen.heads.layers import CONVOLUTIONS, TRANSPOSED

# The most logits that are read, N·K (256 MiB in float32): of 50,257 classes 1,335 positions.
MOST_LOGITS = 1 << 26


@dataclass(frozen=True, eq=False)
class LinearMap:
    """What a linear layer or convolution computes, with its effective weight.

    Args:
        weight: (K, D), or (K, C, ...) of a convolution.
        bias: (K,), or None.
        stride, padding, dilation, padding_mode: of a convolution; padding may be pairs of what comes
            before and after.
        spacing: the step between inputs, which zeros fill, in each spatial dimension of a transposed
            convolution; empty for none.
    """

    weight: Tensor
    bias: Tensor | None = None
    stride: Sequence[int] = ()
    padding: str | Sequence[int] | Sequence[tuple[int, int]] = ()
    dilation: Sequence[int] = ()
    padding_mode: str = "zeros"
    spacing: Sequence[int] = ()

    @classmethod
    def of(cls, layer: Any) -> LinearMap:
        """That of a layer as its attributes say."""
        bias = getattr(layer, "bias", None)
        bias = bias.detach() if isinstance(bias, Tensor) else None
        if not isinstance(layer, CONVOLUTIONS):
            return cls(layer.weight.detach(), bias)
        geometry: Any
        if isinstance(layer, TRANSPOSED):
            geometry = (layer.stride, layer.padding, layer.output_padding, layer.dilation)
            return cls.transposed(layer.weight.detach(), bias, *geometry)
        geometry = (layer.stride, layer.padding, layer.dilation, layer.padding_mode)
        return cls(layer.weight.detach(), bias, *geometry)

    @classmethod
    def transposed(
        cls,
        weight: Tensor,
        bias: Tensor | None,
        stride: Sequence[int],
        padding: Sequence[int],
        output_padding: Sequence[int],
        dilation: Sequence[int],
    ) -> LinearMap:
        """A transposed convolution, weight (C, K, ...): a convolution of inputs with zeros between."""
        turned = weight.transpose(0, 1).flip([*range(2, weight.ndim)])
        before = [
            d * (k - 1) - p for d, k, p in zip(dilation, weight.shape[2:], padding, strict=True)
        ]
        sides = [(b, b + more) for b, more in zip(before, output_padding, strict=True)]
        return cls(turned, bias, (1,) * len(sides), sides, dilation, spacing=tuple(stride))

    @property
    def kernel_size(self) -> tuple[int, ...]:
        """Empty for a linear layer."""
        return tuple(self.weight.shape[2:])

    @property
    def flat_weight(self) -> Tensor:
        """The weight as (K, D): a view, not a copy, unless of a transposed convolution."""
        return self.weight.flatten(1)

    def with_sample_dimension(self, tensor: Tensor) -> Tensor:
        """Add the sample dimension that layers let callers leave out."""
        return tensor if tensor.ndim >= len(self.kernel_size) + 2 else tensor.unsqueeze(0)

    def channels_last(self, outputs: Tensor) -> Tensor:
        """Outputs as (..., K)."""
        outputs = self.with_sample_dimension(outputs)
        return outputs.movedim(1, -1) if self.kernel_size else outputs


class Call(NamedTuple):
    """One execution of a layer: what entered and what left it."""

    inputs: Tensor
    outputs: Tensor


def flatten_calls(head: LinearMap, calls: Sequence[Call], drawn: Tensor) -> tuple[Tensor, Tensor]:
    """Features (N, D) and logits (N, K) at some positions of all calls of one layer.

    A position is a sample or token of a linear layer, or a pixel of a convolution. They are drawn
    before anything is unfolded, as D is C·k·k for a k×k convolution.

    Args:
        head: what the layer computes.
        calls: its executions.
        drawn: numbers of the positions, in the order in which they are wanted.
    """
    outputs = [head.channels_last(call.outputs) for call in calls]
    sizes = [prod(output.shape[:-1]) for output in outputs]
    every = torch.equal(drawn, torch.arange(sum(sizes)))
    features, logits, start = [], [], 0
    for call, output, size in zip(calls, outputs, sizes, strict=True):
        check_fit(head, call)
        rows = drawn[(drawn >= start) & (drawn < start + size)] - start
        start += size
        at = None if every else rows.to(output.device)
        logits.append(
            output.flatten(0, -2) if at is None else output[_unravel(at, output.shape[:-1])]
        )
        features.append(features_at(head, call.inputs, output.shape[:-1], at))
    if len(calls) == 1:
        return features[0], logits[0]
    return torch.cat(features), torch.cat(logits)


def features_at(
    head: LinearMap, inputs: Tensor, shape: Sequence[int], rows: Tensor | None
) -> Tensor:
    """What the linear map sees at some rows of its positions, shape (len(rows), D).

    Args:
        head: the linear map.
        inputs: what entered it.
        shape: that of its positions, such as (samples, height, width).
        rows: their numbers; None for all.
    """
    inputs = head.with_sample_dimension(inputs)
    if head.kernel_size:
        rows = torch.arange(prod(shape), device=inputs.device) if rows is None else rows
        return _patches(head, inputs, _unravel(rows, shape))
    return inputs.flatten(0, -2) if rows is None else inputs[_unravel(rows, shape)]


def draw(total: int, max_positions: int, classes: int = 1) -> Tensor:
    """Numbers of the positions that are read of ``total``, in order: one from each equal part.

    The draw from a part has a fixed seed.

    Args:
        total: how many there are.
        max_positions: the most that are read; of many classes fewer are, but two.
        classes: K; no more than ``MOST_LOGITS`` logits are read.
    """
    maximum = min(max_positions, max(2, MOST_LOGITS // classes))
    if total <= maximum:
        return torch.arange(total)
    edges = torch.arange(maximum + 1) * total // maximum
    generator = torch.Generator().manual_seed(0)
    part = torch.rand(maximum, generator=generator, dtype=torch.float64)
    return edges[:-1] + (part * edges.diff()).long()


def _unravel(rows: Tensor, shape: Sequence[int]) -> tuple[Tensor, ...]:
    index: list[Tensor] = []
    for size in reversed(shape):
        index.insert(0, rows % size)
        rows = rows // size
    return tuple(index)


def _patches(layer: LinearMap, inputs: Tensor, index: Sequence[Tensor]) -> Tensor:
    """The inputs of a convolution at some output positions, shape (len(index[0]), C·k·k)."""
    sample, *corners = index
    ones = (1,) * len(corners)
    pixels = (inputs if layer.spacing else _padded(layer, inputs)).movedim(1, -1)
    window, empty = [], torch.zeros((), dtype=torch.bool, device=inputs.device)
    for axis, corner in enumerate(corners):
        offsets = torch.arange(layer.kernel_size[axis], device=corner.device) * layer.dilation[axis]
        corner = (corner * layer.stride[axis]).reshape(-1, *ones)
        at = corner + offsets.reshape(-1, *ones[axis + 1 :])
        if layer.spacing:  # all inputs with zeros between them would be larger than the outputs
            at, size = at - _padding(layer)[axis][0], inputs.shape[2 + axis]
            at, rest = at.div(layer.spacing[axis], rounding_mode="floor"), at % layer.spacing[axis]
            empty = empty | (rest != 0) | (at < 0) | (at >= size)
            at = at.clamp(0, size - 1)
        window.append(at)
    seen = pixels[(sample.reshape(-1, *ones), *window)]
    seen = seen.masked_fill_(empty.unsqueeze(-1), 0) if layer.spacing else seen
    return seen.movedim(-1, 1).flatten(1)


def _padded(layer: LinearMap, inputs: Tensor) -> Tensor:
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    # functional.pad counts from the last dimension.
    amounts = [amount for sides in reversed(_padding(layer)) for amount in sides]
    return functional.pad(inputs, amounts, mode) if any(amounts) else inputs


def _padding(layer: LinearMap) -> list[tuple[int, int]]:
    """The padding before and after each spatial dimension."""
    if layer.padding == "valid":
        return [(0, 0) for _ in layer.kernel_size]
    if layer.padding == "same":
        totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    pairs = (side if isinstance(side, tuple) else (side, side) for side in layer.padding)
    return [(int(before), int(after)) for before, after in pairs]


def _spread(layer: LinearMap, size: Sequence[int]) -> list[int]:
    """The size of inputs with zeros between them."""
    steps = layer.spacing or (1,) * len(size)
    return [(length - 1) * step + 1 for length, step in zip(size, steps, strict=True)]


def check_fit(head: LinearMap, call: Call) -> None:
    """Refuse a subclass that does not return what its base class does.

    Raises:
        ValueError: the shape is another.
    """
    entered = tuple(head.with_sample_dimension(call.inputs).shape)
    left = tuple(head.with_sample_dimension(call.outputs).shape)
    classes = head.weight.shape[0]
    if head.kernel_size:
        expected = (entered[0], classes, *output_size(head, entered[2:]))
    else:
        expected = (*entered[:-1], classes)
    if left != expected:
        raise ValueError(
            f"`head` must return shape {expected} for inputs {entered}, got {left}; name another "
            "layer with head='path.to.layer'"
        )


def output_size(layer: LinearMap, size: Sequence[int]) -> list[int]:
    """The size of what a convolution makes of inputs of some size."""
    reach = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    return [
        (length + before + after - extent) // stride + 1
        for length, (before, after), extent, stride in zip(
            _spread(layer, size), _padding(layer), reach, layer.stride, strict=True
        )
    ]
