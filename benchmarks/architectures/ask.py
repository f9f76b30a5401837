"""Ask recordings: how well does any readout, baseline or rule rank, in all spaces, without training?

    python -m benchmarks.architectures.ask --recordings RECORDINGS --truths TRUTHS
    python -m benchmarks.architectures.ask ... --scores agreement agreement@mirror isotropy+flops+tse_e
    python -m benchmarks.architectures.ask ... --write benchmarks/architectures/results/recorded

RECORDINGS is the folder of `record` and `truth`, TRUTHS that of the published tables. A score is a
readout, `default` (what `rank` orders by), a baseline of `recording`, `untrained.NAME` of what
`proxies` measured, or several of them joined by `+`, which is the mean of their ranks. Only candidates
for tuning count; with --report only those that are reported on. What is not recorded yet is left out
and counted. `first k of 12` is the share of all draws of 12 candidates in which the truly best one is
among the first k. The last table has ρ in all spaces, the score with the best worst case first. --write
makes the tables of values, a CSV file a space.
"""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from torch import nn

from benchmarks.architectures.recording import BASELINES, QUARTERS, Recording, higher_is_better
from benchmarks.architectures.recordings import Recordings, load
from benchmarks.architectures.spaces import SPACES
from benchmarks.baselines import AT_INITIALISATION
from benchmarks.common.metrics import (
    Metric,
    best_among_first,
    spearman,
    spearman_top,
    with_interval,
)
from benchmarks.common.options import command, need
from benchmarks.common.results import Row, write
from prescreen import DEFAULT_PANEL, READOUTS, Candidate, Reading
from prescreen.ranking.order import order
from prescreen.ranking.replay import Record
from prescreen.ranks import Floats, aggregate
from prescreen.reading import Trajectory
from prescreen.readouts import resolve_readouts
from prescreen.text import plain_table

DEFAULT = "default"
SCORES = [
    *(DEFAULT, *DEFAULT_PANEL, "confidence", "mutual_information"),
    *("agreement", "view_information", "stable_information", "flops", *BASELINES),
]
UNTRAINED = "untrained."
DRAWN = 12
METRICS: dict[str, Metric] = {
    "ρ top half": partial(spearman_top, share=0.5),
    "ρ top fifth": partial(spearman_top, share=0.2),
    f"first 2 of {DRAWN}": partial(best_among_first, count=2, drawn=DRAWN),
    f"first 3 of {DRAWN}": partial(best_among_first, count=3, drawn=DRAWN),
}


def main() -> None:
    """Print a table a space and one over spaces; write the values if asked to."""
    options = {"recordings": Path("prescreen-runs/recordings"), "truths": Path, "report": False}
    options |= {"spaces": [*SPACES], "scores": SCORES, "quarter": QUARTERS, "seed": 0}
    args = command(__doc__, **options, write=Path).parse_args()
    args.do = "ask"
    need(args, "truths")
    columns: dict[str, dict[str, float]] = {}
    for space in args.spaces:
        found = load(space, args.recordings, args.truths, report=args.report, seed=args.seed)
        print(_title(found, args), flush=True)
        if len(found.found) > 2:
            more = [f"{UNTRAINED}{name}" for name in AT_INITIALISATION if found.untrained]
            scores = [*args.scores, *(more if args.scores is SCORES else [])]
            printed, columns[space] = table(found, scores, args.quarter)
            print(printed, flush=True)
            if args.write is not None:
                write(args.write / f"{space}.csv", values(found))
    if len(columns) > 1:
        print(f"\nρ over spaces\n{worst_cases(columns)}")


def _title(found: Recordings, args: Namespace) -> str:
    kind = "reported on" if args.report else "for tuning"
    missing = f", {found.missing} more not recorded or without truth" if found.missing else ""
    took = [float(one.array("train_seconds")) for one in found.found if not one.failure]
    seconds = (
        f"; {np.median(took):.0f} CPU seconds of training, at most {max(took):.0f}" if took else ""
    )
    return f"\n{found.space}: {len(found.found)} candidates {kind}{missing}{seconds}"


def table(
    found: Recordings, scores: Sequence[str], quarter: int = QUARTERS
) -> tuple[str, dict[str, float]]:
    """How well scores rank the candidates of a space, one line each, best first; and their ρ."""
    truth, lines, known, unknown = found.truth, {}, {}, []
    for name in scores:
        try:
            values = score(found, name, quarter)
        except KeyError as error:
            unknown.append(f"left out: {error.args[0]}")
            continue
        known[name] = spearman(values, truth)
        lines[name] = [name, with_interval(spearman, values, truth)]
        lines[name] += [_figure(metric(values, truth)) for metric in METRICS.values()]
    ordered = sorted(known, key=lambda name: -_or_lowest(known[name]))
    printed = plain_table(["score", "ρ", *METRICS], [lines[name] for name in ordered])
    return "\n".join([printed, *unknown]), known


def worst_cases(columns: Mapping[str, Mapping[str, float]]) -> str:
    """ρ by score and space, the score with the highest worst case first."""
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = {name: [columns[space].get(name, math.nan) for space in columns] for name in names}
    worst = {name: min(map(_or_lowest, row)) for name, row in rows.items()}
    lines = [
        [name, _figure(worst[name]), *map(_figure, rows[name])]
        for name in sorted(rows, key=lambda name: -worst[name])
    ]
    return plain_table(["score", "worst", *columns], lines)


def _figure(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"


def _or_lowest(rho: float) -> float:
    return -math.inf if math.isnan(rho) else rho


def score(found: Recordings, name: str, quarter: int = QUARTERS) -> Floats:
    """One number a candidate, higher is better; NaN where it is undefined.

    Args:
        found: the candidates.
        name: a readout, a baseline, ``untrained.NAME``, ``default``, or several joined by ``+``.
        quarter: of the training, at whose end it is read.

    Raises:
        KeyError: what it needs was not recorded.
    """
    if "+" in name:
        return aggregate(np.stack([score(found, n, quarter) for n in name.split("+")], axis=1))
    if name.startswith(UNTRAINED):
        return found.untrained_scores(name.removeprefix(UNTRAINED))
    if name == DEFAULT:
        return ranked(found, DEFAULT_PANEL, quarter)
    sign = 1 if higher_is_better(name) else -1
    return sign * found.values([name], quarter)[name]


def ranked(found: Recordings, names: Sequence[str], quarter: int = QUARTERS) -> Floats:
    """The scores that `rank` gives the candidates for readouts; NaN for those that failed."""
    candidates = [Candidate(one.name, {}, nn.Module) for one in found.found]
    records = {}
    for candidate, one in zip(candidates, found.found, strict=True):
        trajectory = Trajectory([] if one.failure else _readings(one, names, quarter))
        status = "run" if one.failure else "finished"
        records[candidate.key] = Record(trajectory, status, one.failure)
    ranking = order(candidates, records, resolve_readouts(names))
    scores = {row.name: row.score for row in ranking}
    return np.array([scores[one.name] for one in found.found], float)


def _readings(one: Recording, names: Sequence[str], last: int) -> list[Reading]:
    """Those at the ends of the quarters, as `rank` reads by default."""
    at = [one.quarter(number) for number in range(1, last + 1)]
    steps = one.array("step")
    return [
        Reading(int(steps[r]), {n: one.value(n, r) for n in names}, architecture=one.architecture)
        for r in at
    ]


def values(found: Recordings) -> list[Row]:
    """One row a candidate and reading at which all was recorded: all readouts and baselines.

    The last one of a candidate has its score in `rank` among the others.
    """
    names = [n for n, one in READOUTS.items() if one.needs != ("network",)]
    names += [name for name in DEFAULT_PANEL if name not in READOUTS]
    rows: list[Row] = []
    for one, ranked_score in zip(found.found, score(found, DEFAULT), strict=True):
        row: Row = {"run": one.name, "failure": one.failure and "failed", "number": one.number}
        row |= {"test_accuracy": one.truth, **found.untrained.get(one.name, {})}
        if one.failure:
            rows.append(row)
            continue
        row["train_seconds"] = float(one.array("train_seconds"))
        fixed = {n: one.value(n) for n, readout in READOUTS.items() if readout.of_network}
        every = one.readings // len(one.array("validation_accuracy"))
        for reading in range(every - 1, one.readings, every):
            step: Row = {"step": int(one.array("step")[reading])}
            of_step = {name: one.value(name, reading) for name in [*names, *BASELINES]}
            rows.append(row | step | of_step | fixed)
        rows[-1][DEFAULT] = float(ranked_score)
    return rows


if __name__ == "__main__":
    main()
