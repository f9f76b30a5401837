"""Positions: inputs and outputs of a head as the rows of a linear map."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from prescreen.heads.find import CONVOLUTIONS

Convolution: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d


class Call(NamedTuple):
    """One execution of a layer: what entered and what left it."""

    inputs: Tensor
    outputs: Tensor


def flatten_calls(
    layer: nn.Module, calls: Sequence[Call], max_positions: int
) -> tuple[Tensor, Tensor]:
    """Features (N, D) and logits (N, K) at the positions of all calls of one layer.

    A position is a sample or token of a linear layer, or a pixel of a convolution. If there are more
    than ``max_positions``, that many are drawn with a fixed seed, spread evenly over calls and samples.
    They are drawn before anything is unfolded, as D is C·k·k for a k×k convolution.
    """
    channels = 1 if isinstance(layer, CONVOLUTIONS) else -1
    calls = [_with_sample_dimension(layer, call) for call in calls]
    outputs = [call.outputs.movedim(channels, -1) for call in calls]
    sizes = [prod(output.shape[:-1]) for output in outputs]
    drawn = _draw(sum(sizes), max_positions)
    features, logits, start = [], [], 0
    for call, output, size in zip(calls, outputs, sizes, strict=True):
        _check_fit(layer, call)
        rows = drawn[(drawn >= start) & (drawn < start + size)] - start
        start += size
        index = _unravel(rows.to(output.device), output.shape[:-1])
        every = len(rows) == size
        logits.append(output.flatten(0, -2) if every else output[index])
        if isinstance(layer, CONVOLUTIONS):
            features.append(_patches(layer, call.inputs, index))
        else:
            features.append(call.inputs.flatten(0, -2) if every else call.inputs[index])
    if len(calls) == 1:
        return features[0], logits[0]
    return torch.cat(features), torch.cat(logits)


def flat_weight(layer: nn.Module) -> Tensor:
    """The weight of a linear layer or convolution as (K, D): a view, not a copy."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.detach().flatten(1)


def _draw(total: int, maximum: int) -> Tensor:
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


def _patches(layer: Convolution, inputs: Tensor, index: Sequence[Tensor]) -> Tensor:
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


def _padded(layer: Convolution, inputs: Tensor) -> Tensor:
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    # functional.pad counts from the last dimension.
    amounts = [amount for sides in reversed(_padding(layer)) for amount in sides]
    return functional.pad(inputs, amounts, mode) if any(amounts) else inputs


def _padding(layer: Convolution) -> list[tuple[int, int]]:
    """The padding before and after each spatial dimension."""
    if layer.padding == "valid":
        return [(0, 0) for _ in layer.kernel_size]
    if layer.padding == "same":
        totals = [d * (k - 1) for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
        return [(total // 2, total - total // 2) for total in totals]
    return [(int(amount), int(amount)) for amount in layer.padding]


def _with_sample_dimension(layer: nn.Module, call: Call) -> Call:
    """Add the sample dimension that layers let callers leave out."""
    dimensions = len(layer.kernel_size) + 2 if isinstance(layer, CONVOLUTIONS) else 2
    if call.inputs.ndim >= dimensions:
        return call
    return Call(call.inputs.unsqueeze(0), call.outputs.unsqueeze(0))


def _check_fit(layer: nn.Module, call: Call) -> None:
    """Refuse a subclass that does not compute what its base class does."""
    entered, left = tuple(call.inputs.shape), tuple(call.outputs.shape)
    classes = flat_weight(layer).shape[0]
    if isinstance(layer, CONVOLUTIONS):
        expected = (entered[0], classes, *_output_size(layer, entered[2:]))
    else:
        expected = (*entered[:-1], classes)
    if left != expected:
        raise ValueError(
            f"`head` must return shape {expected} for inputs {entered}, "
            f"got {left} from {type(layer).__name__}"
        )


def _output_size(layer: Convolution, size: Sequence[int]) -> list[int]:
    reach = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    return [
        (length + before + after - extent) // stride + 1
        for length, (before, after), extent, stride in zip(
            size, _padding(layer), reach, layer.stride, strict=True
        )
    ]
