"""Tails: what becomes of a linear map's result on its way to the logits, told from gradients."""

from __future__ import annotations

from math import ceil, log
from typing import NamedTuple

import torch
from torch import Tensor

from prescreen.heads.tracing import Application, Followed, followed

# Rows and classes are numbered in the gradients digit by digit: 16 is exact even in bfloat16.
_BASE = 16


class Tail(NamedTuple):
    """How a result Y (P, K') becomes logits: Y[p, q] · factors[p] · scales[q] is added to one.

    Args:
        application: of the linear map.
        result: (P, K').
        shape: of the positions, such as (samples, height, width).
        rows: the row of the logits that each position goes to, shape (P,); -1 for none.
        factors: shape (P,).
        classes: the class that each output goes to, shape (K',); -1 for none.
        scales: shape (K',).
    """

    application: Application
    result: Tensor
    shape: torch.Size
    rows: Tensor
    factors: Tensor
    classes: Tensor
    scales: Tensor


def tails(logits: Tensor) -> list[Tail] | None:
    """The tails of all followed maps that reach the logits (R, K).

    Returns:
        None if no map reaches them, or if one does in another way: through a function that is not
        linear, or one that mixes rows or classes.
    """
    maps = followed(logits)
    if not maps:
        return None
    results = [one.result for one in maps]

    def pull(weights: Tensor) -> list[Tensor]:
        """Gradients (P, K') of the weighted sum of the logits."""
        weights = weights.to(logits).expand_as(logits)
        gradients = torch.autograd.grad(
            logits, results, weights, retain_graph=True, allow_unused=True
        )
        return [
            torch.zeros(0) if g is None else _channels_last(one, g).flatten(0, -2)
            for one, g in zip(maps, gradients, strict=True)
        ]

    slopes = pull(logits.new_ones(()))
    reached = [i for i, slope in enumerate(slopes) if bool((slope != 0).any())]
    if not reached:
        return None
    numbers = []
    for axis in (0, 1):
        totals = [slopes[i].abs().sum(1 - axis) for i in reached]
        found = [torch.zeros_like(total, dtype=torch.long) for total in totals]
        for place in range(max(1, ceil(log(max(2, logits.shape[axis]), _BASE)))):
            digits = torch.arange(logits.shape[axis], device=logits.device) // _BASE**place % _BASE
            weighted = pull(digits.unsqueeze(1 - axis) + 1)
            for i, total, number in zip(reached, totals, found, strict=True):
                signed = (weighted[i] * slopes[i].sign()).sum(1 - axis)
                digit = torch.where(total > 0, signed / total - 1, 0.0)
                if bool(((digit - digit.round()).abs() > 0.2).any()):
                    return None
                number += _BASE**place * digit.round().long()
        numbers.append([n.masked_fill(t == 0, -1) for n, t in zip(found, totals, strict=True)])
    made = []
    for i, rows, classes in zip(reached, *numbers, strict=True):
        parts = _product(slopes[i])
        if parts is None:
            return None
        result = _channels_last(maps[i], maps[i].result.detach())
        shape, flat = result.shape[:-1], result.flatten(0, -2)
        made.append(Tail(maps[i].application, flat, shape, rows, parts[0], classes, parts[1]))
    return made


def _channels_last(one: Followed, tensor: Tensor) -> Tensor:
    return one.application.map.channels_last(tensor)


def _product(slope: Tensor) -> tuple[Tensor, Tensor] | None:
    """Factors of rows and columns whose product a matrix is; None if it is not one."""
    row = slope.abs().sum(1).argmax()
    column = slope[row].abs().argmax()
    scales, factors = slope[row], slope[:, column] / slope[row, column]
    product = factors.unsqueeze(1) * scales
    allowed = 64 * torch.finfo(slope.dtype).eps * product.abs()
    return (factors, scales) if bool(((slope - product).abs() <= allowed).all()) else None
