"""Halved: the rows of candidates that halving ended."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from prescreen.ranking.replay import HALVED, Record
from prescreen.ranking.row import Row
from prescreen.spaces.candidate import Candidate


def halved_rows(
    halved: Sequence[tuple[Candidate, Sequence[Record]]], above: int, readouts: Sequence[str]
) -> list[Row]:
    """Rows in their order: later rungs first, and by the place there.

    A score is known among those that go on alone. Values are those at the rung; NaN for what needs the
    other candidates.

    Args:
        halved: candidates and their records, one a seed.
        above: how many candidates are ranked above them.
        readouts: the panel.
    """
    found = []
    for one, own in halved:
        ended = next(record for record in own if record.status == HALVED)
        lasts = [record.trajectory.readings[ended.rung - 1] for record in own]
        row = Row.of(one, own, lasts)
        values = {name: row.values.get(name, math.nan) for name in [*readouts, *row.values]}
        found.append(((-ended.rung, ended.place), replace(row, values=values)))
    rows = [row for _, row in sorted(found, key=lambda pair: pair[0])]
    return [replace(row, rank=above + place) for place, row in enumerate(rows, start=1)]


def halved_note(rows: Sequence[Row]) -> tuple[str, ...]:
    """What became of them, a line for people; nothing if there are none."""
    if not rows:
        return ()
    steps = sorted(Counter(row.step for row in rows).items())
    ended = ", ".join(f"{count} at step {step}" for step, count in steps)
    return (
        f"Halving ended {ended}: below the others, by their order there, with their values there.",
    )
