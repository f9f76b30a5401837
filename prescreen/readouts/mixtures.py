"""Mixtures: the mean M of several predictions of the same samples, and what is left of them in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from prescreen.predictions import Link, Predictions


def generalised_divergence(members: Sequence[Predictions]) -> Tensor:
    """Mean KL of each member's prediction to their mean, H(m_i) less their mean entropy; shape (N,).

    Of two it is the Jensen–Shannon divergence. It is 0 if they are equal, and at most the logarithm of
    their number (sigmoid: times K).

    Reference: Lin 1991; Englesson & Azizpour 2021, arXiv 2105.04522.
    """
    link = members[0].link
    return torch.cat([divergence_of_rows(parts, link) for parts in _row_blocks(members)])


def mixture_information(members: Sequence[Predictions]) -> Tensor:
    """KL(m_i ‖ m̄), whose mean is the mutual information of the members' mean prediction; shape (N,)."""
    link, n = members[0].link, members[0].num_samples
    overall = torch.as_tensor(sum(_mean(parts).sum(0) for parts in _row_blocks(members))) / n
    least = torch.finfo(overall.dtype).tiny  # m̄ is 0 only where all m_i are
    yes, no = overall.clamp_min(least).log(), (1 - overall).clamp_min(least).log()

    def block(parts: Sequence[Tensor]) -> Tensor:
        mean = _mean(parts)
        surprise = -(mean @ yes) if link == "softmax" else -(mean @ yes + (1 - mean) @ no)
        return surprise - entropies(mean, link)

    return torch.cat([block(parts) for parts in _row_blocks(members)])


def divergence_of_rows(parts: Sequence[Tensor], link: Link) -> Tensor:
    """``generalised_divergence`` of blocks of predictions (rows, K)."""
    own = _mean([entropies(part, link) for part in parts])
    # Rounding can leave a difference that should be zero slightly negative.
    return (entropies(_mean(parts), link) - own).clamp_min(0)


def entropies(p: Tensor, link: Link) -> Tensor:
    """H of every row of predictions (rows, K), for sigmoid links summed over classes; in nats."""
    total = torch.special.entr(p).sum(1)
    return total if link == "softmax" else total + torch.special.entr(1 - p).sum(1)


def _row_blocks(members: Sequence[Predictions]) -> Iterator[list[Tensor]]:
    for rows in members[0].row_blocks():
        first = members[0].predictions(rows)
        yield [first, *(one.predictions(rows).to(first) for one in members[1:])]


def _mean(parts: Sequence[Tensor]) -> Tensor:
    total = parts[0] + parts[1]
    for part in parts[2:]:
        total += part
    return total.div_(len(parts))
