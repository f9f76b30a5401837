"""Another view of text: some tokens are replaced."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor

# The share of tokens that are replaced, as in masked language modelling.
_SHARE = 0.15


def dropped_tokens(inputs: Any) -> Any:
    """Ids of which 15 % are replaced by other tokens of the same inputs, with a fixed seed.

    A token for "unknown" is not known here, so replacements are drawn from the tokens that there are
    (unigram noising). Padding stays where it is: what a mask leaves out or, without a mask, what is
    repeated up to an end of a sequence. So every position that counts keeps its row.

    Args:
        inputs: ids (N, L), or keywords with ``input_ids`` and perhaps ``attention_mask``, both (N, L).

    Raises:
        ValueError: there are no such ids.

    Reference: Xie et al. 2017, arXiv 1703.02573.
    """
    is_keywords = isinstance(inputs, Mapping)
    ids = inputs.get("input_ids") if is_keywords else inputs
    if not isinstance(ids, Tensor) or ids.ndim != 2 or ids.is_floating_point():
        got = f"{ids.dtype} {tuple(ids.shape)}" if isinstance(ids, Tensor) else type(ids).__name__
        raise ValueError(
            f"`inputs` must be token ids (N, L), or a dict with input_ids, for this view, got {got}"
        )
    mask = inputs.get("attention_mask") if is_keywords else None
    if isinstance(mask, Tensor) and mask.shape == ids.shape:
        counts = mask.cpu() != 0
    else:
        counts = ~torch.isin(ids.cpu(), _padding(ids.cpu()))
    view = replaced(ids, counts)
    return {**inputs, "input_ids": view} if is_keywords else view


def replaced(ids: Tensor, counts: Tensor) -> Tensor:
    """Ids (N, L) of which 15 % of those that count are replaced by others of these."""
    generator = Generator().manual_seed(0)
    chosen = (torch.rand(ids.shape, generator=generator) < _SHARE) & counts
    tokens = ids.cpu()[counts]
    if not len(tokens):
        return ids
    drawn = torch.randint(len(tokens), (int(chosen.sum()),), generator=generator)
    return ids.cpu().masked_scatter(chosen, tokens[drawn]).to(ids.device)


def _padding(ids: Tensor) -> Tensor:
    """Ids that stand twice or more at an end of some sequence."""
    if ids.shape[1] < 2:
        return ids.new_empty(0)
    ends = [(ids[:, 0], ids[:, 1]), (ids[:, -1], ids[:, -2])]
    return torch.cat([outer[outer == inner] for outer, inner in ends]).unique()
