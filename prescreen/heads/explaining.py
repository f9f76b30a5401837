"""Explaining: the one linear head that the followed maps of a model amount to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from prescreen.captured import Capture, NotLinearError
from prescreen.heads.parts import Part, folded, groups_of, joined, part_of, sum_of
from prescreen.heads.tails import Tail
from prescreen.predictions import Link

# The most rows that an offset is measured on, and how large rounding is beside the summed terms.
_ROWS = 64
_OFFSET = {torch.float64: 1e-12, torch.float32: 1e-5}
_SHIFT = {torch.float64: 1e-9, torch.float32: 1e-4}


def explained(
    logits: Tensor, found: Sequence[Tail], rows: Tensor, link: Link, *, log_softmax: bool
) -> Capture | None:
    """A head on joint features that gives the logits; None if there is none.

    Args:
        logits: (R, K), as the model returns them.
        found: the tails of all linear maps that reach them.
        rows: numbers of the rows that are wanted, (N,).
        link: how logits become predictions.
        log_softmax: logits may be of the head but for a constant in each row.

    Raises:
        NonFiniteError: features or weights are NaN or infinite.
    """
    groups = groups_of(found)
    parts = [part_of(group, rows, logits.shape) for group in groups]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    joint = joined([folded(part, known, rows, logits.shape) for part in known])
    seen = logits.detach()[rows.to(logits.device)]
    shifted = log_softmax and link == "softmax"
    joint, made = _with_offset(joint, seen, shifted, joint.results if len(known) == 1 else None)
    if shifted and not _alike_but_for_rows(made, seen):
        return None
    try:
        return Capture(joint.features, made, joint.weight, joint.bias, link, rows)
    except NotLinearError:
        return None


def own(found: Sequence[Tail], rows: Tensor, count: int, link: Link) -> Capture | None:
    """A layer as it is, at the rows (N,) of the R logits that its results go to."""
    width = found[0].application.map.weight.shape[0]
    part = part_of(found, rows, (count, width), own=True)
    if part is None:
        return None
    return Capture(part.features, part.results, part.weight, part.bias, link, rows)


def _alike_but_for_rows(one: Tensor, other: Tensor) -> bool:
    """Whether logits are equal but for a constant in each row: then their softmax is the same."""
    rest = (one - other).double()
    allowed = _SHIFT.get(other.dtype, 5e-2) * (1 + one.abs() + other.abs())
    return bool(((rest - rest.mean(1, keepdim=True)).abs() <= allowed).all())


def _with_offset(
    joint: Part, logits: Tensor, shifted: bool, results: Tensor | None
) -> tuple[Part, Tensor]:
    """With what the model adds to all rows; if a log_softmax shifted the rows, without that."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    few = torch.linspace(0, len(logits) - 1, min(_ROWS, len(logits))).long().unique()
    features, weight = joint.features[few].to(dtype), joint.weight.to(dtype)
    product = features @ weight.T
    size = features.abs() @ weight.abs().T
    if joint.bias is not None:
        product, size = product + joint.bias, size + joint.bias.abs()
    rest = logits[few].to(dtype) - product
    if shifted:
        rest = rest - rest.mean(1, keepdim=True)
    offset = rest.mean(0)
    if bool((offset.abs() > _OFFSET.get(logits.dtype, 5e-2) * size.mean(0)).any()):
        joint = replace(joint, bias=sum_of(joint.bias, offset.to(joint.weight.dtype)))
        results = None if results is None else results + offset
    if shifted and results is not None:
        logits = results.to(logits.dtype)
    elif shifted:
        every = joint.features.to(dtype) @ weight.T
        logits = every if joint.bias is None else every + joint.bias
    return joint, logits
