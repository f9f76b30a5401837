"""The tables of checkpoint_selection.py: how far chosen checkpoints are from the best one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from checkpoint_selection_choice import WINDOW, Choice, choice, first_of
from checkpoint_selection_results import RESULTS, Row, read_results
from checkpoint_selection_runs import SEEDS
from checkpoint_selection_scores import CORRUPTED, Score, scores, series
from checkpoint_selection_stopping import stopping_table
from checkpoint_selection_summary import COLUMNS, summary
from metrics import Floats, bootstrap

from prescreen.ranking.report import plain_table

HEADER = (
    *("score", "read", "labels", "gap, points", "of oracle − last", "smoothed gap"),
    *("ρ", "ρ in window", "at edge"),
)


def print_tables(runs: str, window: float = WINDOW, path: Path = RESULTS) -> None:
    """A table a regime and one of all of them; one line if there are no results.

    Intervals are of resampled runs: of three in a regime they say little. In the last table clean
    runs count twice, judged on clean and on corrupted images.

    Args:
        runs: one of `SEEDS`.
        window: share of the checkpoints, counted from the end, that one is chosen from.
        path: of the results.
    """
    found = runs_by_regime(runs, path)
    if not found:
        print(f"{runs}: no results in {path}; train them first")
        return
    every: dict[tuple[str, ...], list[Choice]] = defaultdict(list)
    by_regime = {regime: choices_of(own, regime, window) for regime, own in found.items()}
    for regime, choices in by_regime.items():
        own = found[regime]
        print(f"\n{regime}: {_summary(own, regime, window)}\n")
        print(_table(choices))
        if regime != CORRUPTED:
            print(f"\n{regime}, stopped early:\n\n{stopping_table(own, regime)}")
        for (name, kind, labels), made in choices.items():
            every[name, kind.replace(CORRUPTED, "unseen"), labels] += made
    count = max(map(len, every.values()), default=0)
    whole = {key: made for key, made in every.items() if len(made) == count}
    if whole:
        print(f"\nall regimes: {count} runs, only what was read in all of them\n\n{_table(whole)}")
    if by_regime.keys() == set(COLUMNS):
        print(f"\nmean gap by regime, in points:\n\n{summary(by_regime)}")


def runs_by_regime(runs: str, path: Path = RESULTS) -> dict[str, list[list[Row]]]:
    """Checkpoints of every run; the corrupted regime has the runs of the clean one."""
    by_run = _by_run([row for row in read_results(path) if row["seed"] in SEEDS[runs]])
    found = {}
    for regime in COLUMNS:
        source = "clean" if regime == CORRUPTED else regime
        if own := [run for (of, *_), run in by_run.items() if of == source]:
            found[regime] = own
    return found


def _by_run(rows: list[Row]) -> dict[tuple[str, str, int], list[Row]]:
    """Checkpoints by regime, architecture and seed; failed runs are told and left out."""
    by_run: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for row in rows:
        run = row["regime"], row["architecture"], int(row["seed"])
        if row["failure"]:
            print(f"left out, it failed as {row['failure']!r}: {' '.join(map(str, run))}")
        else:
            by_run[run].append(row)
    return by_run


def choices_of(
    own: Sequence[list[Row]], regime: str, window: float = WINDOW
) -> dict[tuple[str, ...], list[Choice]]:
    """What every score chooses in the runs of a regime: by its name, how it was read, its labels."""
    made: dict[tuple[str, ...], list[Choice]] = defaultdict(list)
    for run in own:
        test = _test(run, regime)
        for score in scores(run, regime):
            made[score.name, score.kind, score.labels].append(choice(score, test, window))
        last = Score("last", "", "none", np.arange(len(run)), True, lambda v: len(v) - 1)
        made["last checkpoint", "", "none"].append(choice(last, test, window))
    return made


def _table(choices: dict[tuple[str, ...], list[Choice]]) -> str:
    lines = []
    for key, made in choices.items():
        gaps = np.array([c.gap for c in made])
        low, high = bootstrap(lambda values, _: float(values.mean()), gaps, gaps)
        room = sum(c.room for c in made)
        line = [
            *key,
            f"{gaps.mean():.2f} [{low:.2f}, {high:.2f}]",
            f"{gaps.sum() / room:.2f}" if room else "-",
            f"{np.mean([c.smoothed_gap for c in made]):.2f}",
            _mean([c.rho for c in made]),
            _mean([c.rho_window for c in made]),
            f"{sum(c.at_edge for c in made)} of {len(made)}",
        ]
        lines.append((gaps.mean(), line))
    ordered = [line for _, line in sorted(lines, key=lambda pair: pair[0])]
    return plain_table(HEADER, ordered, (0, 1, 2))


def _mean(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    return f"{np.mean(known):.2f}" if known else "-"


def _summary(own: Sequence[list[Row]], regime: str, window: float) -> str:
    """Mean test accuracies of what needs no choice, and of the oracle."""
    tests = [_test(run, regime) for run in own]
    parts = {
        "oracle": [test.max() for test in tests],
        "last": [test[-1] for test in tests],
        "mean of the window": [test[first_of(len(test), window) :].mean() for test in tests],
    }
    if regime != CORRUPTED:
        parts["averaged weights, EMA"] = [series(run, "test.ema")[-1] for run in own]
        parts["SWA"] = [series(run, "test.swa")[-1] for run in own]
    figures = ", ".join(f"{name} {100 * np.mean(values):.1f}" for name, values in parts.items())
    return f"{len(own)} runs; test accuracy in %: {figures}"


def _test(run: list[Row], regime: str) -> Floats:
    return series(run, "test.corrupted" if regime == CORRUPTED else "test")
