"""Part: one of several things that a model predicts, or some of the samples, read apart."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from prescreen.captured import Capture
from prescreen.checks import require
from prescreen.predictions import Link, Logits, Predictions, check_link

Subjects = dict[str, Capture | Logits]

# Shares of samples are fractions: rounding must not cost a row.
_ROUNDING = 1e-9

_OWN = ""  # the name of what is read if no part is named


@dataclass(frozen=True)
class Part:
    """Which head is read, and which of its rows and classes; its readouts are named ``PART:READOUT``.

    Args:
        link: how its logits become predictions: ``"softmax"``, ``"sigmoid"`` or ``"identity"``.
        role: what the head predicts, such as ``"boxes"`` (docs/tasks.md); None for the model's own head.
        share: which samples of the probe are read, in its order, as shares of it: ``(0, 0.5)`` is the
            first half. Only for models that make the same number of predictions for each sample.
        background: the class that means that nothing is there. Its logit is left out, so that softmax
            is over the others.
        likeliest: the share of the rows that is read: those with the largest probability of any class
            but the background. All subjects of a reading then have the same rows.

    Raises:
        ValueError: an argument is not allowed.
    """

    link: Link = "softmax"
    role: str | None = None
    share: tuple[float, float] = (0.0, 1.0)
    background: int | None = None
    likeliest: float = 1.0

    def __post_init__(self) -> None:
        check_link(self.link)
        start, stop = self.share
        allowed = "two shares from 0 to 1, the first below the second"
        require("share", allowed, self.share, 0 <= start < stop <= 1)
        require("likeliest", "above 0 and at most 1", self.likeliest, 0 < self.likeliest <= 1)
        ranked = self.likeliest == 1 or self.link != "identity"
        require("likeliest", "1 for an identity link", self.likeliest, ranked)
        below = self.background is not None and self.background < 0
        require("background", "a class, at least 0, or None", self.background, not below)
        classes = self.background is None or self.link != "identity"
        require("background", "None for an identity link", self.background, classes)

    def of(self, subjects: Mapping[str, Capture | Logits]) -> Subjects:
        """The rows and classes of this part, from subjects by need of which ``head`` is one.

        Of seen inputs, which are other samples, the likeliest rows are their own.

        Raises:
            ValueError: no class is left beside the background, or fewer than two rows are.
        """
        if (self.share, self.background, self.likeliest) == ((0.0, 1.0), None, 1.0):
            return dict(subjects)
        found: Subjects = {}
        rows = self._rows(subjects["head"])
        for need, subject in subjects.items():
            own = self._rows(subject) if need == "seen" else rows
            found[need] = self._without_background(subject).at(own.to(subject.logits.device))
        return found

    def _rows(self, head: Predictions) -> Tensor:
        """Numbers of the rows that are read, rising, shape (M,)."""
        start, stop = (share * head.num_samples for share in self.share)
        rows = torch.arange(math.ceil(start - _ROUNDING), math.floor(stop + _ROUNDING))
        if self.likeliest < 1:
            top = self._largest(head)[rows.to(head.logits.device)]
            count = max(2, round(self.likeliest * len(rows)))
            rows = rows[top.cpu().topk(min(count, len(rows))).indices.sort().values]
        if len(rows) < 2:
            raise ValueError(f"`share` must leave at least 2 rows, got {self.share}: {len(rows)}")
        return rows

    def _largest(self, head: Predictions) -> Tensor:
        """The largest probability of any class but the background, of every row, shape (N,)."""
        found = []
        for block in head.row_blocks():
            made = head.predictions(block)
            if self.background is not None:
                made = made[:, _others(self.background, made)]
            found.append(made.amax(1))
        return torch.cat(found)

    def _without_background(self, subject: Capture | Logits) -> Capture | Logits:
        if self.background is None:
            return subject
        least = 3 if self.link == "softmax" else 2
        got = f"one of {subject.num_classes}"
        fits = subject.num_classes >= least and self.background < subject.num_classes
        require("background", f"one of at least {least} classes", got, fits)
        return subject.of_classes(_others(self.background, subject.logits))


def with_own(parts: Mapping[str, Part] | None, link: Link) -> dict[str, Part]:
    """The parts by name, and under the empty name the model's own head, as it is.

    Raises:
        ValueError: a name is empty or has a colon, a value is not a Part, or two parts of one head
            have different links.
    """
    given = {} if parts is None else dict(parts)
    for name, part in given.items():
        named = isinstance(name, str) and bool(name) and ":" not in name
        require("parts", "named by texts without a colon", name, named)
        require("parts", "a mapping from names to Part", part, isinstance(part, Part))
    every = {_OWN: Part(link), **given}
    links: dict[str, Link] = {}
    for part in every.values():
        first = links.setdefault(part.role or _OWN, part.link)
        of = f"of the head {part.role}" if part.role else "of the model's own head"
        require("parts", f"of one link, {first}, where {of}", part.link, part.link == first)
    return every


def _others(background: int, made: Tensor) -> Tensor:
    classes = torch.arange(made.shape[1], device=made.device)
    return classes[classes != background]
