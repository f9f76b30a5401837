"""Sequences of tokens, and what of them is predicted: the next token, or masked ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Generator, Tensor

from prescreen.predictions import IGNORED, LOSS_MASK

# Ids (B, L), or keywords with `input_ids`; and the tokens (B, L) that are predicted, else IGNORED.
Example: TypeAlias = tuple[Tensor | dict[str, Tensor], Tensor]

# Devlin et al. 2019, arXiv 1810.04805: of 15 % of the tokens, 80 % are masked, 10 % are replaced.
_CHOSEN, _MASKED, _REPLACED = 0.15, 0.8, 0.1


@dataclass(frozen=True, eq=False)
class Sequences:
    """Token ids, which of them are padding, and whose prediction counts.

    Args:
        ids: (n, W), integers.
        real: (n, W), False for padding; None if there is none.
        wanted: (n, W), True for tokens that are predicted; None for all.
    """

    ids: Tensor
    real: Tensor | None = None
    wanted: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def tensors(self) -> list[Tensor]:
        """All that there are."""
        return [one for one in (self.ids, self.real, self.wanted) if one is not None]

    def predicted(self, ahead: int) -> Tensor:
        """(n, W - ahead), True at positions whose prediction, of the token `ahead`, counts."""
        width = self.ids.shape[1] - ahead
        counts = torch.ones(len(self.ids), width, dtype=torch.bool)
        if self.real is not None:  # padding predicts nothing either
            counts &= self.real[:, ahead:] & self.real[:, :width]
        return counts if self.wanted is None else counts & self.wanted[:, ahead:]

    def take(self, rows: Tensor) -> Sequences:
        """Some of the sequences."""
        return Sequences(
            self.ids[rows],
            None if self.real is None else self.real[rows],
            None if self.wanted is None else self.wanted[rows],
        )


def windows(stream: Tensor, length: int, ahead: int) -> Tensor:
    """Stretches of a stream (T,), one after another: a view of shape (n, length + ahead).

    Args:
        stream: token ids.
        length: L; each token but the last few is in one stretch.
        ahead: how many tokens of the next stretch each one has as well.
    """
    return stream.unfold(0, length + ahead, length)


def next_tokens(some: Sequences) -> Example:
    """Every token but the last as an input, and the next one as its target."""
    ids, counts = some.ids.long(), some.predicted(1)
    targets = ids[:, 1:].masked_fill(~counts, IGNORED)
    if len(some.tensors) == 1:
        return ids[:, :-1], targets
    return _keywords(ids[:, :-1], None if some.real is None else some.real[:, :-1], counts), targets


def masked_tokens(some: Sequences, mask_id: int, generator: Generator) -> Example:
    """15 % of the tokens are predicted, at least one of each sequence; most of them are masked.

    Replacements are drawn from the tokens that there are.
    """
    ids, counts = some.ids.long(), some.predicted(0)
    drawn = torch.rand(ids.shape, generator=generator).masked_fill(~counts, 2)
    chosen = (drawn < _CHOSEN) | (drawn == drawn.amin(1, keepdim=True)) & counts
    how = torch.rand(ids.shape, generator=generator)
    tokens = ids[counts]
    others = tokens[torch.randint(len(tokens), ids.shape, generator=generator)]
    seen = torch.where(how < _MASKED, mask_id, torch.where(how < 1 - _REPLACED, ids, others))
    targets = ids.masked_fill(~chosen, IGNORED)
    return _keywords(torch.where(chosen, seen, ids), some.real, chosen), targets


def _keywords(ids: Tensor, real: Tensor | None, counts: Tensor) -> dict[str, Tensor]:
    mask = {} if real is None else {"attention_mask": real.long()}
    return {"input_ids": ids, **mask, LOSS_MASK: counts}
