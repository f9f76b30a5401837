"""Views: which rows of a layer's output the model returns, told from where tensors are in memory."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from prescreen.heads.execute import storage_of
from prescreen.heads.positions import LinearMap


def class_views(logits: Tensor) -> Iterator[Tensor]:
    """The logits as (..., K), for each axis on which the classes can be."""
    if logits.ndim == 1:
        yield logits.unsqueeze(-1)
    if logits.ndim > 1:
        yield logits
    if logits.ndim > 2:
        yield logits.movedim(1, -1)


def rows_of_view(
    head: LinearMap, outputs: Tensor, logits: Tensor
) -> tuple[Tensor | None, slice, Tensor] | None:
    """How logits that are a view of a layer's output lie in it; None if they are not.

    Returns:
        The numbers of the output's rows, in the order of the logits; None for all in order. The slice
        of classes. The logits as (..., K).
    """
    if storage_of(outputs) != storage_of(logits) or outputs.dtype != logits.dtype:
        return None
    if logits.shape == outputs.shape:
        logits = head.with_sample_dimension(logits)
    if _is_same(outputs, logits) and logits.ndim == 2:
        return None, slice(0, logits.shape[1]), logits
    made = head.channels_last(outputs)
    step, classes = made.stride(-1), made.shape[-1]
    places = _places(made)
    order = places.argsort()
    for seen in class_views(logits):
        width = seen.shape[-1]
        if not 0 < width <= classes or (width > 1 and seen.stride(-1) != step) or not seen.numel():
            continue
        at = _places(seen)
        offsets = at[0] - places
        firsts = offsets[offsets % max(1, step) == 0] // max(1, step)
        for first in firsts[(firsts >= 0) & (firsts <= classes - width)].unique().tolist():
            wanted = at - first * step
            index = torch.searchsorted(places[order], wanted).clamp(max=len(places) - 1)
            rows = order[index]
            if torch.equal(places[rows], wanted):
                every = torch.equal(rows, torch.arange(len(places)))
                return None if every else rows, slice(first, first + width), seen
    return None


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Whether tensors of one memory are the same view of it, and no two elements lie in one place."""
    at = [(t.shape, t.stride(), t.storage_offset()) for t in (one, other)]
    return at[0] == at[1] and one.is_contiguous() and one.numel() > 0


def _places(tensor: Tensor) -> Tensor:
    """Where each row (..., K) of a tensor begins in its memory, in elements."""
    places = torch.tensor(tensor.storage_offset())
    for size, stride in zip(tensor.shape[:-1], tensor.stride(), strict=False):
        places = places.unsqueeze(-1) + torch.arange(size) * stride
    return places.flatten()
