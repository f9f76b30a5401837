"""Order: candidates by their last readings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from prescreen.comparison import compare
from prescreen.panel import Panel
from prescreen.ranking.replay import Record
from prescreen.ranking.report import Ranking, Row
from prescreen.ranks import Floats
from prescreen.reading import Reading
from prescreen.readouts import Readout
from prescreen.spaces.candidate import Candidate


def order(
    candidates: Sequence[Candidate], records: Mapping[str, Record], readouts: Mapping[str, Readout]
) -> Ranking:
    """Order candidates by their scores (see ``compare``); equal scores keep the given order.

    A measure of the untrained network only tells architectures apart: all candidates of one
    architecture get the value of the first of them. A readout that is not defined (NaN) for any
    candidate does not count. A candidate without any value of its trained network is the worst.
    """
    done = [(candidate, records[candidate.key]) for candidate in candidates]
    good = [pair for pair in done if pair[1].status == "finished"]
    lasts = [record.trajectory.last for _, record in good]
    left_out = _undefined(good, readouts)
    judged = {n: one for n, one in readouts.items() if n not in left_out}
    values = _oriented(lasts, judged) if judged else np.zeros((len(lasts), 1))
    values[[_failed(record, readouts) for _, record in good]] = math.nan
    of_network = [one.of_network for one in judged.values()]
    compared = compare(values, of_network, [last.architecture for last in lasts])
    scores = compared.scores
    best_first = np.argsort(-scores, kind="stable")
    ranked = [
        Row.of(good[index][0], good[index][1], place, float(scores[index]))
        for place, index in enumerate(best_first, start=1)
    ]
    failed = [Row.of(c, record) for c, record in done if record.status != "finished"]
    rows, panel = (*ranked, *failed), tuple(readouts)
    return Ranking(rows, panel, tuple(left_out), compared.notes)


def _undefined(
    good: Sequence[tuple[Candidate, Record]], readouts: Mapping[str, Readout]
) -> list[str]:
    """Readouts that are NaN for a candidate, except those of a trained network without any value."""
    found: set[str] = set()
    for _, record in good:
        failed = _failed(record, readouts)
        for name, value in record.trajectory.last.values.items():
            if name in readouts and math.isnan(value):
                found |= {name} if readouts[name].of_network or not failed else set()
    return [name for name in readouts if name in found]


def _failed(record: Record, readouts: Mapping[str, Readout]) -> bool:
    """Whether no readout of the trained network has a value: see ``Panel.failed``."""
    panel = Panel.of(readouts)
    row = panel.oriented(record.trajectory.last.values)
    return panel.failed(row, first=len(record.trajectory) == 1)


def _oriented(lasts: Sequence[Reading], readouts: Mapping[str, Readout]) -> Floats:
    """Values that are better when higher, shape (candidates, readouts)."""
    firsts: dict[str, Reading] = {}
    for last in lasts:
        firsts.setdefault(last.architecture, last)
    rows = []
    for last in lasts:
        first = firsts[last.architecture] if last.architecture else last
        sources = {True: first.values, False: last.values}
        rows.append([one.score(sources[one.of_network][n]) for n, one in readouts.items()])
    return np.array(rows, dtype=float).reshape(len(lasts), len(readouts))
