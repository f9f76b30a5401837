"""Order: candidates by their last readings, and how sure that order is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from prescreen.panel import Panel
from prescreen.ranking.committee import beside_others
from prescreen.ranking.compared import Compared
from prescreen.ranking.halved import halved_note, halved_rows
from prescreen.ranking.notes import cached_note, notes
from prescreen.ranking.repeats import Repeat
from prescreen.ranking.replay import HALVED, Record
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
    Those that halving ended come after the others, by their place at the last rung that they reached.

    Args:
        candidates: in the order that equal scores keep.
        records: of all trainings of the candidates, by key.
        readouts: the panel.
        seeds: how often each candidate was trained.
        samples: how many the probe batch has; 0 if that is not known.
    """
    done = [(one, [records[Repeat(one, n).key] for n in range(seeds)]) for one in candidates]
    sorts = [_sort(own) for _, own in done]
    good, halved, failed = ([*compress(done, [one == sort for one in sorts])] for sort in _SORTS)
    found = _judge(good, readouts, seeds, samples)
    comparison = found.compared.comparison()
    scores = comparison.scores
    varied = _varied(found.runs, found.readouts)
    sure = _sure(found.compared, found.runs, found.readouts, varied)
    places = np.argsort(-scores, kind="stable")
    ranked = [
        Row.of(one, own, [run[at] for run in found.runs]).placed(
            place, float(scores[at]), *_interval(scores, sure, at, places[0])
        )
        for place, at in enumerate(places.tolist(), start=1)
        for one, own in [good[at]]
    ]
    ended = halved_rows(halved, len(ranked), tuple(readouts))
    said = notes(sure, varied, candidates=len(good), seeds=seeds, samples=samples)
    said += cached_note([record for _, own in (*good, *halved, *failed) for record in own])
    return Ranking(
        (*ranked, *ended, *(Row.of(one, own) for one, own in failed)),
        tuple(readouts),
        found.compared.left_out,
        seeds,
        (*comparison.notes, *said, *halved_note(ended)),
        compared=found.compared if sure is None else replace(found.compared, ahead=sure.ahead),
    )


def best_first(
    candidates: Sequence[Candidate],
    records: Mapping[str, Record],
    readouts: Readouts,
    *,
    seeds: int = 1,
    samples: int = 0,
) -> list[int]:
    """The places in a list of the candidates that ``order`` would put first, second and so on.

    Args:
        candidates: of which none has failed.
        records: of all trainings of the candidates, by key.
        readouts: the panel.
        seeds: how often each candidate was trained.
        samples: how many the probe batch has; 0 if that is not known.
    """
    done = [(one, [records[Repeat(one, n).key] for n in range(seeds)]) for one in candidates]
    scores = _judge(done, readouts, seeds, samples).compared.comparison().scores
    return np.argsort(-scores, kind="stable").tolist()


_SORTS = ("good", HALVED, "failed")


def _sort(records: Sequence[Record]) -> str:
    """What has become of a candidate, with all of its seeds."""
    if any(one.failed for one in records):
        return "failed"
    return "good" if all(one.status == "finished" for one in records) else HALVED


@dataclass(frozen=True)
class _Judged:
    """The last readings of each seed, what is compared of them, and the readouts that count."""

    runs: list[list[Reading]]
    compared: Compared
    readouts: Readouts


def _judge(
    good: Sequence[tuple[Candidate, Sequence[Record]]],
    readouts: Readouts,
    seeds: int,
    samples: int,
) -> _Judged:
    runs = [
        beside_others([own[n].trajectory.last for _, own in good], readouts, samples)
        for n in range(seeds)
    ]
    first = [len(own[0].trajectory) == 1 for _, own in good]
    left_out = _undefined(runs, first, readouts)
    judged = {name: one for name, one in readouts.items() if name not in left_out}
    failed = _failed(runs, first, readouts)
    names = [one.name for one, _ in good]
    return _Judged(runs, Compared.of(names, Panel.of(readouts), runs, failed, left_out), judged)


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
