"""Reasons: what kept a trial or pruned it, in a few stable words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prescreen.text import printable

# What each kind says of several trials. Those of PRUNED end a trial.
KEPT = {
    "warm-up": "in the warm-up",
    "interval": "no check was due",
    "few": "too few completed trials to compare with",
    "last": "no objective is known, and there is no later reading",
    "contradicted": "completed trials contradict the readings",
    "order": "the order of completed trials at the step is not trusted",
    "tolerance": "too many that the rule would have pruned ended best",
    "rung": "not at a rung",
    "likely": "likely enough to end best",
    "good": "good enough for the rule",
    "undefined": "the only readout is not defined",
    "diverged, kept": "diverged, and `on_nan` keeps it",
}
PRUNED = {
    "diverged": "diverged",
    "unlikely": "unlikely to end best",
    "poor": "poor by the rule",
}


@dataclass(frozen=True)
class Reason:
    """What one check of a trial came to.

    Args:
        kind: one of ``KEPT`` or ``PRUNED``.
        detail: the numbers behind it, for people.
    """

    kind: str
    detail: str

    @property
    def pruned(self) -> bool:
        """Whether the trial should end."""
        return self.kind in PRUNED

    def __str__(self) -> str:
        return f"{'pruned' if self.pruned else 'kept'}: {self.detail}"


@dataclass(frozen=True)
class Reasons:
    """What the checks of one trial came to, in constant space.

    Args:
        step: of the latest check.
        kind: of its reason.
        last: that reason in words, such as ``"kept: 3 of 5 completed trials read at step 40"``.
        counts: how many checks each kind of reason decided.
    """

    step: int
    kind: str
    last: str
    counts: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """A dict for strict JSON."""
        return {**vars(self), "counts": dict(self.counts)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reasons:
        """What ``to_json`` wrote.

        Raises:
            KeyError, TypeError, ValueError: ``data`` is something else.
        """
        counts = {str(kind): int(count) for kind, count in data["counts"].items()}
        return cls(int(data["step"]), str(data["kind"]), str(data["last"]), counts)


def with_reason(before: Reasons | None, reason: Reason, step: int) -> Reasons:
    """What a trial's checks came to, with one more; a check that is asked again is one.

    Args:
        before: of the earlier checks.
        reason: of this one.
        step: of the reading that was checked.
    """
    counts = Counter() if before is None else Counter(before.counts)
    again = before is not None and (before.step, before.kind) == (step, reason.kind)
    counts[reason.kind] += not again
    return Reasons(step, reason.kind, str(reason), dict(counts))


def summary(reasons: Iterable[Reasons]) -> list[str]:
    """A line for each kind of reason: of how many trials it was the last, and the latest of them."""
    last: dict[str, list[Reasons]] = {}
    for one in reasons:
        last.setdefault(one.kind, []).append(one)
    lines = []
    for kind, own in sorted(last.items(), key=lambda pair: -len(pair[1])):
        word = "pruned" if kind in PRUNED else "kept"
        known = (KEPT | PRUNED).get(kind, kind)
        said = printable(own[-1].last.partition(": ")[2])
        lines.append(f"{len(own)} {word}: {printable(known)} ({said})")
    return lines
