"""Transposed: what a transposed convolution sees at a position of its output."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def windows(
    inputs: Tensor,
    index: Sequence[Tensor],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """The inputs (N, C, ...) at some output positions, shape (len(index[0]), C·k·k).

    Along each axis tap k of the kernel adds input i to output o = i · stride − padding + k · dilation:
    at o it sees input (o + padding − k · dilation) / stride, or nothing if that is no position.

    Args:
        inputs: what entered.
        index: samples, and positions along each axis.
        kernel_size: of the convolution.
        stride: likewise.
        padding: likewise.
        dilation: likewise.
    """
    sample, *places = index
    ones = (1,) * len(places)
    window, there = [], torch.ones((), dtype=torch.bool, device=inputs.device)
    for axis, place in enumerate(places):
        taps = torch.arange(kernel_size[axis], device=place.device) * dilation[axis]
        reached = place[:, None] + padding[axis] - taps
        at = reached.div(stride[axis], rounding_mode="floor")
        size = inputs.shape[2 + axis]
        hit = (reached % stride[axis] == 0) & (at >= 0) & (at < size)
        shape = [len(place), *ones]
        shape[1 + axis] = kernel_size[axis]
        window.append(at.clamp(0, size - 1).reshape(shape))
        there = there & hit.reshape(shape)
    seen = inputs.movedim(1, -1)[(sample.reshape(-1, *ones), *window)]
    return seen.masked_fill(~there.unsqueeze(-1), 0).movedim(-1, 1).flatten(1)


def output_size(
    left: Sequence[int],
    entered: Sequence[int],
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> list[int]:
    """The size of the output; the one it has, if some output padding or an output_size explains it."""
    sizes = []
    for axis, size in enumerate(entered):
        reach = dilation[axis] * (kernel_size[axis] - 1) + 1
        least = (size - 1) * stride[axis] - 2 * padding[axis] + reach
        most = least + max(stride[axis], dilation[axis])
        got = left[axis] if axis < len(left) else least
        sizes.append(got if least <= got < most else least)
    return sizes
