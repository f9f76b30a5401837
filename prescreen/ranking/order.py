"""Order: candidates by their last readings, and how sure that order is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from prescreen.panel import Panel
from prescreen.ranking.committee import beside_others
from prescreen.ranking.compared import Compared
from prescreen.ranking.notes import notes
from prescreen.ranking.repeats import Repeat
from prescreen.ranking.replay import Record
from prescreen.ranking.report import Ranking
from prescreen.ranking.row import Row
from prescreen.ranking.uncertainty import Uncertainty, uncertainty
from prescreen.ranks import Floats
from prescreen.reading import Reading
from prescreen.readouts import Readout
from prescreen.readouts.parts import PARTS
from prescreen.spaces.candidate import Candidate

Readouts = Mapping[str, Readout]


def order(
    candidates: Sequence[Candidate],
    records: Mapping[str, Record],
    readouts: Readouts,
    *,
    seeds: int = 1,
    samples: int = 0,
) -> Ranking:
    """Order candidates by their scores (see ``compare``); equal scores keep the given order.

    A measure of the untrained network only tells architectures apart: all candidates of one
    architecture get the value of the first of them. A readout that is not defined (NaN) for any
    candidate does not count. A candidate without any value of its trained network is the worst. With
    several seeds a score is the mean over them, and a candidate that failed with one of them has failed.

    Args:
        candidates: in the order that equal scores keep.
        records: of all trainings of the candidates, by key.
        readouts: the panel.
        seeds: how often each candidate was trained.
        samples: how many the probe batch has; 0 if that is not known.
    """
    done = [(one, [records[Repeat(one, n).key] for n in range(seeds)]) for one in candidates]
    good = [(one, own) for one, own in done if all(r.status == "finished" for r in own)]
    runs = [
        beside_others([own[n].trajectory.last for _, own in good], readouts, samples)
        for n in range(seeds)
    ]
    first = [len(own[0].trajectory) == 1 for _, own in good]
    left_out = _undefined(runs, first, readouts)
    judged = {name: one for name, one in readouts.items() if name not in left_out}
    failed_ones = _failed(runs, first, readouts)
    names = [one.name for one, _ in good]
    compared = Compared.of(names, Panel.of(readouts), runs, failed_ones, left_out)
    comparison = compared.comparison()
    scores = comparison.scores
    varied = _varied(runs, judged)
    sure = _sure(compared, runs, judged, varied)
    best_first = np.argsort(-scores, kind="stable")
    ranked = [
        Row.of(one, own, [run[at] for run in runs]).placed(
            place, float(scores[at]), *_interval(scores, sure, at, best_first[0])
        )
        for place, at in enumerate(best_first.tolist(), start=1)
        for one, own in [good[at]]
    ]
    failed = [Row.of(one, own) for one, own in done if any(r.status != "finished" for r in own)]
    said = notes(sure, varied, candidates=len(good), seeds=seeds, samples=samples)
    return Ranking(
        (*ranked, *failed),
        tuple(readouts),
        tuple(left_out),
        seeds,
        (*comparison.notes, *said),
        compared=compared if sure is None else replace(compared, ahead=sure.ahead),
    )


def _undefined(
    runs: Sequence[Sequence[Reading]], first: Sequence[bool], readouts: Readouts
) -> list[str]:
    """Readouts that are NaN for a candidate, except those of a trained network without any value."""
    found: set[str] = set()
    failed = _failed(runs, first, readouts)
    for run, of_run in zip(runs, failed, strict=True):
        for reading, has_failed in zip(run, of_run, strict=True):
            for name, readout in readouts.items():
                if math.isnan(reading.values[name]) and (readout.of_network or not has_failed):
                    found.add(name)
    return [name for name in readouts if name in found]


def _failed(
    runs: Sequence[Sequence[Reading]], first: Sequence[bool], readouts: Readouts
) -> NDArray[np.bool_]:
    """Which candidates have no value from their trained network, shape (seeds, candidates)."""
    panel = Panel.of(readouts)
    return np.array(
        [
            [
                panel.failed(panel.oriented(reading.values), reading.step, first=is_first)
                for reading, is_first in zip(run, first, strict=True)
            ]
            for run in runs
        ],
        dtype=bool,
    )


def _varied(runs: Sequence[Sequence[Reading]], readouts: Readouts) -> dict[str, bool]:
    """Readouts of which it is known how they vary with the probe: whether it is for all candidates."""
    known = {name: [name in one.replicates for run in runs for one in run] for name in readouts}
    return {name: all(own) for name, own in known.items() if any(own)}


def _sure(
    compared: Compared,
    runs: Sequence[Sequence[Reading]],
    readouts: Readouts,
    varied: Mapping[str, bool],
) -> Uncertainty | None:
    """How sure the order is; None if that is not known."""
    seeds, candidates, _ = compared.values.shape
    if candidates < 2 or not readouts or not all(varied.values()) or (seeds == 1 and not varied):
        return None
    unknown = (math.nan,) * PARTS
    replicates = [
        [
            [
                [*map(one.score, reading.replicates.get(name, unknown))]
                for name, one in readouts.items()
            ]
            for reading in run
        ]
        for run in runs
    ]
    counted = compared.counted()

    def score(values: Floats) -> Floats:
        return compared.one_seed(values, counted).scores

    values, shared = compared.values[:, :, counted], compared.shared[:, counted]
    return uncertainty(score, values, np.array(replicates), shared)


def _interval(
    scores: Floats, sure: Uncertainty | None, index: int, first: int
) -> tuple[float, float, bool]:
    """Both ends of a score's interval, NaN if they are not known, and whether it ties with the first."""
    score = float(scores[index])
    if sure is None:
        return math.nan, math.nan, bool(index != first and score == scores[first])
    half = float(sure.half[index])
    return max(0.0, score - half), min(1.0, score + half), bool(sure.tied[index])
