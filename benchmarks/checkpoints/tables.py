"""The tables of checkpoint selection: how far chosen checkpoints are from the best one."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from benchmarks.checkpoints.choice import WINDOW, Choice, choice, first_of
from benchmarks.checkpoints.data import REGIMES
from benchmarks.checkpoints.scores import CORRUPTED, STABLE, Score, scores
from benchmarks.checkpoints.stopping import stopping_table
from benchmarks.common.metrics import bootstrap
from benchmarks.common.results import Row, column, without_failures
from prescreen.ranks import Floats
from prescreen.text import plain_table

# Choices by a score's name, how it was read, and its labels.
Choices = Mapping[tuple[str, str, str], Sequence[Choice]]

COLUMNS = (*REGIMES, CORRUPTED)
# Where the last checkpoint is far from the best.
OVERFITTED = ("noise", "small")

# The name of a method here -> its score's name, and how that was read.
METHODS = {
    "stable information": STABLE,
    "stable information, mirrored view": ("stable_information", "unseen, mirrored, eval"),
    "mutual information": ("mutual_information", "unseen, eval"),
    "confidence": ("confidence", "unseen, eval"),
    "seen − unseen confidence": ("confidence", "seen − unseen, eval"),
    "the paper's probe, head scale": ("paper's probe", "head, eval, tail"),
    "the paper's probe, feature scale": ("paper's probe", "feature, eval, tail"),
    "GWA": ("gwa.training", ""),
    "LabelWave": ("label_wave", "own rule"),
    "gradient disparity": ("gradient_disparity", ""),
    "evidence criterion": ("evidence", "own rule"),
    "lowest training loss": ("training.loss", ""),
    "last checkpoint": ("last checkpoint", ""),
    "highest validation accuracy": ("validation.accuracy", "own rule"),
    "lowest validation loss": ("validation.loss", ""),
}


def print_tables(rows: Sequence[Row], window: float = WINDOW) -> None:
    """One table per regime, one of all regimes, and one with a line per method and a column per regime.

    Intervals are over resampled runs; with three runs in a regime they say little. In the table of all
    regimes clean runs count twice, judged on clean and on corrupted images. The window is the share of
    checkpoints, counted from the end, from which one is chosen.
    """
    found = runs_by_regime(rows)
    every: dict[tuple[str, str, str], list[Choice]] = defaultdict(list)
    by_regime = {regime: choices_of(own, regime, window) for regime, own in found.items()}
    for regime, choices in by_regime.items():
        own = found[regime]
        print(f"\n{regime}: {_accuracies(own, regime, window)}\n")
        print(_gap_table(choices))
        if regime != CORRUPTED:
            print(f"\n{regime}, stopped early:\n\n{stopping_table(own, regime)}")
        for (name, kind, labels), made in choices.items():
            every[name, kind.replace(CORRUPTED, "unseen"), labels] += made
    count = max(map(len, every.values()), default=0)
    if whole := {key: made for key, made in every.items() if len(made) == count}:
        print(f"\nall regimes: {count} runs, only what was read in all of them\n")
        print(_gap_table(whole))
    if by_regime.keys() == set(COLUMNS):
        header = ("chosen by", "labels", *COLUMNS, "mean", "recovered")
        print(
            f"\nmean gap by regime, in points:\n\n{plain_table(header, summary(by_regime), (0, 1))}"
        )


def runs_by_regime(rows: Sequence[Row]) -> dict[str, list[list[Row]]]:
    """Checkpoints of every run; the corrupted regime has the runs of the clean one."""
    by_run: dict[str, list[Row]] = defaultdict(list)
    for row in without_failures(rows):
        by_run[row["run"]].append(row)
    found = {}
    for regime in COLUMNS:
        source = "clean" if regime == CORRUPTED else regime
        if own := [run for name, run in by_run.items() if name.split()[0] == source]:
            found[regime] = own
    return found


def choices_of(
    own: Sequence[list[Row]], regime: str, window: float = WINDOW
) -> dict[tuple[str, str, str], list[Choice]]:
    """What every score chooses in the runs of a regime."""
    made: dict[tuple[str, str, str], list[Choice]] = defaultdict(list)
    for run in own:
        test = _test(run, regime)
        steps = column(run, "step")
        last = Score("last checkpoint", "", "none", steps, True, lambda values: len(values) - 1)
        for score in (*scores(run, regime), last):
            made[score.name, score.kind, score.labels].append(choice(score, test, window))
    return made


def _gap_table(choices: Choices) -> str:
    lines = []
    for key, made in choices.items():
        gaps = np.array([c.gap for c in made])
        low, high = bootstrap(lambda values, _: float(values.mean()), gaps, gaps)
        room = sum(c.room for c in made)
        line = [*key, f"{gaps.mean():.2f} [{low:.2f}, {high:.2f}]"]
        line.append(f"{gaps.sum() / room:.2f}" if room else "-")
        line.append(f"{np.mean([c.smoothed_gap for c in made]):.2f}")
        line += [_mean([c.rho for c in made]), _mean([c.rho_window for c in made])]
        lines.append((gaps.mean(), [*line, f"{sum(c.at_edge for c in made)} of {len(made)}"]))
    header = ["score", "read", "labels", "gap, points", "of oracle − last", "smoothed gap"]
    ordered = [line for _, line in sorted(lines, key=lambda pair: pair[0])]
    return plain_table([*header, "ρ", "ρ in window", "at edge"], ordered, (0, 1, 2))


def _mean(values: Sequence[float]) -> str:
    known = [value for value in values if not math.isnan(value)]
    return f"{np.mean(known):.2f}" if known else "-"


def summary(by_regime: Mapping[str, Choices]) -> list[list[str]]:
    """Mean gaps to the best checkpoint, in points; recovered is the share of (best − last)."""
    rows = []
    for label, (name, kind) in METHODS.items():
        made = {regime: of(choices, regime, name, kind) for regime, choices in by_regime.items()}
        (labels,) = {key[2] for key in by_regime[COLUMNS[0]] if key[:2] == (name, kind)}
        gaps = [np.mean([one.gap for one in made[regime]]) for regime in COLUMNS]
        hard = [one for regime in OVERFITTED for one in made[regime]]
        recovered = 1 - sum(one.gap for one in hard) / sum(one.room for one in hard)
        figures = [f"{gap:.2f}" for gap in (*gaps, np.mean(gaps))]
        rows.append([label, labels, *figures, f"{100 * recovered:.0f} %"])
    return rows


def of(choices: Choices, regime: str, name: str, kind: str) -> Sequence[Choice]:
    """What a score chose in a regime; for the corrupted one, where it was read on such inputs."""
    if regime == CORRUPTED:
        kind = kind.replace("unseen", CORRUPTED)
    (made,) = (made for key, made in choices.items() if key[:2] == (name, kind))
    return made


def _accuracies(own: Sequence[list[Row]], regime: str, window: float) -> str:
    """Mean test accuracies of what needs no choice, and of the oracle."""
    tests = [_test(run, regime) for run in own]
    parts = {
        "oracle": [test.max() for test in tests],
        "last": [test[-1] for test in tests],
        "mean of the window": [test[first_of(len(test), window) :].mean() for test in tests],
    }
    if regime != CORRUPTED:
        parts["averaged weights, EMA"] = [column(run, "test.ema")[-1] for run in own]
        parts["SWA"] = [column(run, "test.swa")[-1] for run in own]
    figures = ", ".join(f"{name} {100 * np.mean(values):.1f}" for name, values in parts.items())
    return f"{len(own)} runs; test accuracy in %: {figures}"


def _test(run: Sequence[Row], regime: str) -> Floats:
    return column(run, "test.corrupted" if regime == CORRUPTED else "test")
