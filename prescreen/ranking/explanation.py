"""Explanation: why a candidate is ranked where it is, as a text and in parts."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from prescreen.equality import NanEqual
from prescreen.ranking.replay import HALVED
from prescreen.text import finite, ordinal, plain_table, printable

# Of the JSON. What a field means never changes; fields may join.
EXPLANATION_SCHEMA = "prescreen.explanation/1"


@dataclass(frozen=True)
class Neighbour:
    """The candidate above or below another one.

    Args:
        name: its name.
        distance: between the two scores, at least 0.
        swapped: the share of draws of the probe (and, with several seeds, of the training) in which the
            lower of the two is ahead; NaN if it is not known.
    """

    name: str
    distance: float
    swapped: float


@dataclass(frozen=True, eq=False)
class Explanation(NanEqual):
    """A candidate's place in a ranking; as a text for people, and in parts.

    Args:
        name: the candidate's.
        rank: 1 is best; None for a candidate that failed.
        of: how many candidates did not fail.
        score: mean share of pairs won.
        score_low: lower end of its 95 % interval; NaN if unknown.
        score_high: its upper end, likewise.
        tied: whether it cannot be told from the first.
        status, reason: why it failed, as in ``Row``.
        values: its last readings, as in ``Row``.
        places: its rank in each readout of the panel, equal values sharing the best; None where it has
            no value.
        weights: how much each readout counts in its score, together 1; none for those left out.
        won: the share of pairs it wins in each readout that counts, a tie counting half.
        left_out: readouts that do not count, as they are not defined for all candidates.
        above, below: the neighbours; None at the ends.
        changes: what would change its place, a line each.
        measured_as: the candidate that computes the same, was measured in its place, and that all this
            is of; empty if it was measured itself.
    """

    name: str
    rank: int | None
    of: int
    score: float
    score_low: float
    score_high: float
    tied: bool
    status: str
    reason: str
    values: Mapping[str, float]
    places: Mapping[str, int | None] = field(default_factory=dict)
    weights: Mapping[str, float] = field(default_factory=dict)
    won: Mapping[str, float] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    above: Neighbour | None = None
    below: Neighbour | None = None
    changes: tuple[str, ...] = ()
    measured_as: str = ""

    def to_json(self) -> str:
        """Strict JSON (docs/json.md); values that are not finite become null."""
        content = {"schema": EXPLANATION_SCHEMA, **asdict(self)}
        return json.dumps(finite(content), indent=2, allow_nan=False)

    def __str__(self) -> str:
        if self.measured_as:
            same = f"{printable(self.name)} computes the same as {printable(self.measured_as)}"
            own = replace(self, name=self.measured_as, measured_as="")
            return f"{same}, which was measured.\n{own}"
        changes = [f"- {printable(line)}" for line in self.changes]
        if self.status == HALVED:
            place = f"{ordinal(self.rank or 0)} of {self.of}"
            return (
                f"{printable(self.name)} is {place}, as halving ended it: {printable(self.reason)}"
            )
        if self.rank is None:
            why = "was not trained" if self.status == "limit" else "failed"
            reason = f"{self.status}: {printable(self.reason)}"
            return "\n".join(
                [f"{printable(self.name)} has no rank because it {why}: {reason}", *changes]
            )
        lines = [_head(self, self.rank), _table(self), *_sides(self)]
        return "\n".join([*lines, *(["What would change its place:"] if changes else []), *changes])


def _head(found: Explanation, rank: int) -> str:
    half = max(found.score_high - found.score, found.score - found.score_low)
    interval = "" if math.isnan(half) else f" ± {half:.3f}"
    pairs = found.of - 1
    return (
        f"{printable(found.name)} is {ordinal(rank)} of {found.of}: score {found.score:.3f}{interval}, "
        f"{found.score * pairs:.1f} of {pairs} pairs won{', not told from the first' * found.tied}"
    )


def _table(found: Explanation) -> str:
    pairs = found.of - 1
    cells = [
        [
            readout,
            f"{found.values[readout]:.4g}",
            "-" if place is None else ordinal(place),
            f"{found.weights[readout]:.2f}" if readout in found.weights else "left out",
            f"{found.won[readout] * pairs:.1f}" if readout in found.won else "-",
        ]
        for readout, place in found.places.items()
    ]
    return plain_table(["measure", "value", "place", "weight", "pairs won"], cells)


def _sides(found: Explanation) -> list[str]:
    both = {"Above it": found.above, "Below it": found.below}
    return [
        f"{where}: {printable(one.name)}, by {one.distance:.3f} of the score"
        for where, one in both.items()
        if one is not None
    ]
