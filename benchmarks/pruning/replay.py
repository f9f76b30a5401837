"""How early may a search stop its candidates? Pruning replayed from recorded trajectories.

    python -m benchmarks.pruning.replay [--figure docs/pruning.svg]     # from results, half a minute

The cells of architectures/nas_bench_201.py were each trained once, to the end of the brief budget, and
read on the way. 1,000 searches over half of them, in shuffled order, are replayed under each setting
of two rules. Each half is drawn without replacement. The best of all cells is in every second search,
so winners differ, and 100 candidates leave several after three rungs. The rules are successive halving
(all candidates at a rung, where 1 of η continues; rungs at r, rs, rs² … readings, with s = η in the
textbook, and at step 0 for what is known before training) and percentile pruning (each candidate
against those that finished before it: median and other shares, warm-ups, startup trials).

compute: training steps as a share of the unpruned search's. Readings, validation passes and the
full training of those that finish are not counted; finish says how many these are. winner: published
accuracy of the best candidate that finished, as if all of these were then trained in full. The
unpruned search's winner is the best candidate of all; loss is the winner's gap to it in the same
search, in percentage points, with the central 95 % of searches. lost: searches in which the unpruned
winner was pruned. pick: published accuracy of the finished candidate that the signal itself puts
first at the end; pick loss is its gap to the same signal's pick in the unpruned search.

A line shows the cheapest setting of its rule whose mean loss is within 0.2 points. It is chosen in
hindsight, for all signals alike. Searches share the recordings, so other cells would differ by more.
The last table gives the compute that keeps the mean gap to the unpruned winner within 0.2 points. For
the case where only the pick is trained in full, it gives the compute for the gap to the pick of an
unpruned search by validation accuracy with batch statistics. – marks a signal that does not get there
even unpruned. --panel names the recorded columns that the readout's signal is made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.architectures.table import RESULTS
from benchmarks.common.options import command
from benchmarks.common.readouts import PANEL, oriented_sign
from benchmarks.common.results import column, read
from benchmarks.pruning.figure import draw
from benchmarks.pruning.rules import (
    Columns,
    Integers,
    Mask,
    NoSignal,
    Percentile,
    Searches,
    Signal,
    halve,
    prune,
)
from benchmarks.pruning.table import BASELINES, WITHIN, Result, print_results
from prescreen.ranks import Floats

LOSS = "training_loss"

ETAS = (2, 3, 4)
SPACINGS = (2, 3, 4)
SHARES = (0.25, 0.5, 0.75, 0.9)
STARTUPS = (5, 10)


@dataclass(frozen=True)
class Recordings:
    """Published accuracies (C,), steps (T,) from 0 on, and recorded columns (C, T) by name.

    Architectures are as readings tell them; if empty, all candidates differ in theirs.
    """

    truth: Floats
    steps: Integers
    columns: dict[str, Floats]
    architectures: tuple[str, ...] = ()


def main() -> None:
    """Replay, print the table and its summary; draw the figure if asked."""
    options = {"cells": "report", "panel": list(PANEL), "searches": 1000, "seed": 0}
    args = command(__doc__, **options, figure=Path).parse_args()
    recordings = load(args.cells, args.panel)
    cells = len(recordings.truth)
    searches = Searches.draw(args.searches, cells // 2, cells, args.seed)
    results = [
        result
        for name, signal in signals(recordings, args.panel, searches, args.seed).items()
        for result in replay(name, signal, recordings, searches)
    ]
    print(f"{args.searches} searches over {searches.size} of {cells} cells of {args.cells!r}")
    print_results(results)
    if args.figure is not None:
        draw(results, WITHIN, args.figure)
        print(f"written: {args.figure}")


def load(cells: str, panel: list[str]) -> Recordings:
    """The recordings of one list of cells; a column that never changes is known from step 0 on."""
    finals, rows = read(RESULTS / f"{cells}.csv"), read(RESULTS / f"{cells}_readings.csv")
    at_step = column(rows, "step").astype(int)
    steps = np.unique([0, *at_step])
    if len(steps) < 3:
        raise SystemExit(f"a replay needs at least 2 readings a cell, got {len(steps) - 1}")
    index = {row["run"]: i for i, row in enumerate(finals)}
    at = [index[row["run"]] for row in rows], np.searchsorted(steps, at_step)
    columns = {}
    for name in (*panel, *BASELINES.values(), LOSS):
        values = column(rows, name)
        if np.isnan(values).all():
            raise SystemExit(f"`panel` must name recorded columns, got {name!r}")
        recorded = columns[name] = np.full((len(index), len(steps)), np.nan)
        recorded[at] = values
        known = ~np.isnan(recorded)
        start = recorded[np.arange(len(index)), known.argmax(axis=1)]
        if (recorded == start[:, None])[known].all():
            recorded[:, 0] = start
    return Recordings(column(finals, "test_accuracy"), steps, columns)


def signals(
    recordings: Recordings, panel: list[str], searches: Searches, seed: int
) -> dict[str, Signal]:
    """Signals that drive pruning, by name; the panel also without what it knows at step 0."""
    columns = recordings.columns
    turned = {name: oriented_sign(name) * values for name, values in columns.items()}
    found: dict[str, Signal] = {"readout": Columns(np.stack([turned[name] for name in panel]))}
    trained = [turned[name] for name in panel if np.isnan(turned[name][:, 0]).all()]
    if 0 < len(trained) < len(panel):
        found["readout, from training"] = Columns(np.stack(trained))
    for name, of in BASELINES.items():
        found[name] = Columns(columns[of][None])
    # Losses are means since the reading before. One that is missing must not shorten the sum.
    sums = np.nancumsum(columns[LOSS] * np.diff(recordings.steps, prepend=0), axis=1)
    found["TSE"] = Columns(np.where(np.isnan(columns[LOSS]), np.nan, -sums)[None])
    return {**found, "no signal": NoSignal(searches, seed + 1)}


def replay(name: str, signal: Signal, recordings: Recordings, searches: Searches) -> list[Result]:
    """All settings of both rules with one signal, and no pruning."""
    steps, last = recordings.steps, len(recordings.steps) - 1
    truth = np.broadcast_to(recordings.truth, searches.members.shape)
    unpruned = searches.members

    def picked(finished: Mask) -> Floats:
        return truth[searches.best(signal.scores(last, finished), finished, 1)]

    best, first_pick = np.where(unpruned, truth, -np.inf).max(axis=1), picked(unpruned)

    def result(rule: str, setting: str, compute: float, finished: Mask) -> Result:
        winner, pick = np.where(finished, truth, -np.inf).max(axis=1), picked(finished)
        survivors = float(finished.sum(axis=1).mean())
        losses = best - winner, first_pick - pick
        return Result(rule, name, setting, compute, survivors, winner, losses[0], pick, losses[1])

    results = [result("none", "", 1.0, unpruned)]
    for eta, rungs in ladders(last, signal.first):
        compute, finished = halve(signal, searches, steps, rungs, eta)
        setting = f"η {eta}, rungs " + " ".join(str(steps[rung]) for rung in rungs)
        results.append(result("halving", setting, compute, finished))
    warmups = range(signal.first, last)
    settings = [Percentile(*each) for each in product(SHARES, warmups, STARTUPS)]
    computes, each = prune(signal, searches, steps, settings)
    for index, s in enumerate(settings):
        setting = f"{s.share:.0%}, warm-up {steps[s.warmup]}, startup {s.startup}"
        results.append(result("percentile", setting, float(computes[index]), each[..., index]))
    return results


def ladders(last: int, first: int) -> list[tuple[int, tuple[int, ...]]]:
    """Every η with its rungs, as indices of steps below the last; index 0 is step 0."""
    found: dict[tuple[int, tuple[int, ...]], None] = {}  # a set that keeps its order
    for eta, spacing, lowest in product(ETAS, SPACINGS, range(1, last)):
        rungs = [lowest]
        while rungs[-1] * spacing < last:
            rungs.append(rungs[-1] * spacing)
        found[eta, tuple(rungs)] = None
    if first == 0:
        found |= dict.fromkeys((eta, (0, *rungs)) for eta, rungs in found)
        found |= dict.fromkeys((eta, (0,)) for eta in ETAS)
    return list(found)


if __name__ == "__main__":
    main()
