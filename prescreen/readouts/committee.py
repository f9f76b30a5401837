"""Committee: the predictions of several candidates, packed to be kept, and compared with one another."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from prescreen.predictions import Predictions

# Of more classes, only so many are kept for each sample, the likeliest.
TOP = 10


class Committee(NamedTuple):
    """A candidate's predictions beside those of the other candidates.

    Args:
        own: its probabilities of its likeliest classes, shape (N, T).
        others: the mean over the other candidates of their probabilities of these classes, shape (N, T).
    """

    own: Tensor
    others: Tensor


def committee_agreement(committee: Committee) -> Tensor:
    """⟨p_i, q_i⟩ of each sample, q_i the mean prediction of the other candidates; shape (N,)."""
    return (committee.own * committee.others).sum(1)


def packed(predictions: Predictions) -> str:
    """Probabilities of the likeliest classes of each sample, in half precision, as a text.

    Two bytes for each of at most TOP classes, and as many or twice as many for its number if there are
    more classes; a third more as a text.
    """
    rows, classes = predictions.logits.shape
    top = min(classes, TOP)
    likeliest = [predictions.predictions(block).topk(top) for block in predictions.row_blocks()]
    values, numbers = (torch.cat(part).cpu() for part in zip(*likeliest, strict=True))
    if classes == top:  # in the order of the classes, which then need no numbers
        values = torch.zeros_like(values).scatter_(1, numbers, values)
    data = values.numpy().astype("<f2").tobytes()
    if classes > top:
        data += numbers.numpy().astype(_integers(classes)).tobytes()
    return f"{rows} {classes} {base64.b64encode(data).decode()}"


def unpacked(text: str) -> tuple[Tensor, Tensor, int]:
    """What was packed: probabilities and numbers of classes, both (N, T), and how many classes.

    Raises:
        ValueError: it was not packed by ``packed``.
    """
    try:
        rows, classes, data = text.split(" ")
        shape = int(rows), min(int(classes), TOP)
        content = base64.b64decode(data, validate=True)
        size = 2 * shape[0] * shape[1]
        values = np.frombuffer(content[:size], "<f2").astype(np.float64).reshape(shape)
        numbers = np.broadcast_to(np.arange(shape[1]), shape)
        if int(classes) > TOP:
            numbers = np.frombuffer(content[size:], _integers(int(classes))).reshape(shape)
        elif len(content) != size:
            raise ValueError
    except (ValueError, binascii.Error) as error:
        raise _not_packed(text) from error
    if not ((values >= 0) & (values <= 1)).all() or not (numbers < int(classes)).all():
        raise _not_packed(text)
    return torch.tensor(values), torch.tensor(numbers.astype(np.int64)), int(classes)


def committees(texts: Sequence[str]) -> list[Committee | None]:
    """Each candidate's predictions beside the mean of the others'.

    None for a single candidate, and if they do not predict the same classes for as many positions.
    """
    if not all(texts):
        return [None] * len(texts)
    members = [unpacked(text) for text in texts]
    if len(members) < 2 or len({(values.shape, classes) for values, _, classes in members}) > 1:
        return [None] * len(members)
    values = torch.stack([one for one, _, _ in members])
    numbers = torch.stack([one for _, one, _ in members])
    # One number for each pair of row and class: most classes of a large vocabulary are nobody's.
    pairs = numbers + torch.arange(values.shape[1])[:, None] * members[0][2]
    known, place = pairs.unique(return_inverse=True)
    total = torch.zeros(len(known), dtype=values.dtype)
    total.index_add_(0, place.flatten(), values.flatten())
    others = (total[place] - values) / (len(members) - 1)
    return [Committee(*pair) for pair in zip(values, others, strict=True)]


def _integers(classes: int) -> str:
    return "<u2" if classes <= 2**16 else "<u4"


def _not_packed(text: str) -> ValueError:
    return ValueError(f"`text` must hold packed predictions, got {text[:40]!r}")
