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
from prescreen.heads.transposed import output_size, windows


@dataclass(frozen=True, eq=False)
class LinearMap:
    """What a linear layer or convolution computes, with its effective weight.

    Args:
        weight: (K, D), or (K, C, ...) of a convolution, also of a transposed one.
        bias: (K,), or None.
        stride, padding, dilation, padding_mode: of a convolution.
        transposed: whether it is a transposed one.
    """

    weight: Tensor
    bias: Tensor | None = None
    stride: Sequence[int] = ()
    padding: str | Sequence[int] = ()
    dilation: Sequence[int] = ()
    padding_mode: str = "zeros"
    transposed: bool = False

    @classmethod
    def of(cls, layer: Any) -> LinearMap:
        """That of a layer as its attributes say."""
        bias = getattr(layer, "bias", None)
        bias = bias.detach() if isinstance(bias, Tensor) else None
        if not isinstance(layer, (*CONVOLUTIONS, *TRANSPOSED)):
            return cls(layer.weight.detach(), bias)
        transposed = isinstance(layer, TRANSPOSED)
        weight = layer.weight.detach()
        geometry = (layer.stride, layer.padding, layer.dilation, layer.padding_mode, transposed)
        return cls(weight.transpose(0, 1) if transposed else weight, bias, *geometry)

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


def flatten_calls(
    head: LinearMap, calls: Sequence[Call], max_positions: int, kept: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Features (N, D) and logits (N, K) at the positions of all calls of one layer.

    A position is a sample or token of a linear layer, or a pixel of a convolution. If there are more
    than ``max_positions``, that many are drawn with a fixed seed, spread evenly over calls and samples.
    They are drawn before anything is unfolded, as D is C·k·k for a k×k convolution.

    Args:
        head: what the layer computes.
        calls: its executions.
        max_positions: the most rows.
        kept: numbers of the positions that count, in the order in which they are wanted; None for all.
    """
    outputs = [head.channels_last(call.outputs) for call in calls]
    sizes = [prod(output.shape[:-1]) for output in outputs]
    drawn = draw(sum(sizes) if kept is None else len(kept), max_positions)
    drawn = drawn if kept is None else kept.cpu()[drawn]
    features, logits, start = [], [], 0
    for call, output, size in zip(calls, outputs, sizes, strict=True):
        check_fit(head, call)
        rows = drawn[(drawn >= start) & (drawn < start + size)] - start
        start += size
        every = kept is None and len(rows) == size
        at = rows.to(output.device)
        logits.append(output.flatten(0, -2) if every else output[_unravel(at, output.shape[:-1])])
        features.append(features_at(head, call.inputs, output.shape[:-1], None if every else at))
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
        index = _unravel(rows, shape)
        if head.transposed:
            return windows(inputs, index, *_geometry(head))
        return _patches(head, inputs, index)
    return inputs.flatten(0, -2) if rows is None else inputs[_unravel(rows, shape)]


def draw(total: int, maximum: int) -> Tensor:
    """At most ``maximum`` of ``total`` positions, in order: one at random from each equal part."""
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


def _geometry(layer: LinearMap) -> tuple[Sequence[int], ...]:
    assert not isinstance(layer.padding, str)  # torch has no such transposed convolutions
    return layer.kernel_size, layer.stride, layer.padding, layer.dilation


def _patches(layer: LinearMap, inputs: Tensor, index: Sequence[Tensor]) -> Tensor:
    """The inputs of a convolution at some output positions, shape (len(index[0]), C·k·k)."""
    sample, *corners = index
    ones = (1,) * len(corners)
    window = []
    for axis, corner in enumerate(corners):
        offsets = torch.arange(layer.kernel_size[axis], device=corner.device) * layer.dilation[axis]
        corner = (corner * layer.stride[axis]).reshape(-1, *ones)
        window.append(corner + offsets.reshape(-1, *ones[axis + 1 :]))
    pixels = _padded(layer, inputs).movedim(1, -1)
    return pixels[(sample.reshape(-1, *ones), *window)].movedim(-1, 1).flatten(1)


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
    return [(int(amount), int(amount)) for amount in layer.padding]


def check_fit(head: LinearMap, call: Call) -> None:
    """Refuse a subclass that does not return what its base class does.

    Raises:
        ValueError: the shape is another.
    """
    entered = tuple(head.with_sample_dimension(call.inputs).shape)
    left = tuple(head.with_sample_dimension(call.outputs).shape)
    classes = head.weight.shape[0]
    if head.transposed:
        sizes = output_size(left[2:], entered[2:], *_geometry(head))
        expected: tuple[int, ...] = (entered[0], classes, *sizes)
    elif head.kernel_size:
        expected = (entered[0], classes, *_output_size(head, entered[2:]))
    else:
        expected = (*entered[:-1], classes)
    if left != expected:
        raise ValueError(
            f"`head` must return shape {expected} for inputs {entered}, got {left}; name another "
            "layer with head='path.to.layer'"
        )


def _output_size(layer: LinearMap, size: Sequence[int]) -> list[int]:
    reach = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    return [
        (length + before + after - extent) // stride + 1
        for length, (before, after), extent, stride in zip(
            size, _padding(layer), reach, layer.stride, strict=True
        )
    ]
