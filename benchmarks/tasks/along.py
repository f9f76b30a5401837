"""Along training: what the checkpoints that readouts choose are worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.checkpoints.choice import pick
from benchmarks.checkpoints.scores import Score
from benchmarks.common.results import Row, column, without_failures
from benchmarks.tasks.kind import Kind
from benchmarks.tasks.readouts import higher_is_better, plain
from prescreen.ranks import Floats
from prescreen.text import plain_table

# What is told unless all is asked for.
TOLD = (
    *("stable_information", "view_information", "expected_agreement", "agreement"),
    *("mutual_information", "confidence", "energy", "rankme", "sample_gradient"),
    *("gap/nuclear", "gap/mutual_information", "gap/sample_gradient", "gap/confidence"),
    *("gap/energy", "prior/gradient/centred_feature"),
    *("pseudo/batch_gradient/head", "labels/batch_gradient/head"),
    *("held_out_loss", "training.loss"),
)
LAST = "last checkpoint"


class Regret(NamedTuple):
    """How far the chosen checkpoint of a run is behind the best one, in units of the quality."""

    run: str
    value: float


def runs_of(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The checkpoints of every run that did not fail."""
    found: dict[str, list[Row]] = {}
    for row in without_failures(rows):
        found.setdefault(row["run"], []).append(row)
    return found


def regrets(kind: Kind, runs: Mapping[str, Sequence[Row]]) -> dict[str, list[Regret]]:
    """By readout, how far its choice is behind in every run, of readouts that were read in all."""
    first = next(iter(runs.values()))[-1]
    skipped = ("run", "step", "seconds", "parameters", "architecture")
    names = [n for n in first if n not in skipped and not n.startswith("test.")]
    found: dict[str, list[Regret]] = {LAST: []}
    for run, own in runs.items():
        truth = column(own, kind.quality) * (1 if kind.higher_is_better else -1)
        best = float(truth.max())
        found[LAST].append(Regret(run, best - float(truth[-1])))
        for name in names:
            at = _pick(name, column(own, name))
            found.setdefault(name, []).append(Regret(run, best - float(truth[at])))
    return found


def _pick(name: str, values: Floats) -> int:
    return pick(Score(name, "", "", values, higher_is_better(name)), 1.0)


def print_runs(kind: Kind, rows: Sequence[Row], *, full: bool = False) -> None:
    """The table of checkpoints: a line a score, a column a run, the mean and the largest regret."""
    runs = runs_of(rows)
    if not runs:
        return
    found = regrets(kind, runs)
    names = [n for n in found if full or n == LAST or plain(n) in TOLD]
    lines = {}
    for name in names:
        values = [one.value for one in found[name]]
        cells = [f"{np.mean(values):.3f}", f"{max(values):.3f}", *(f"{v:.3f}" for v in values)]
        lines[name] = [name, *cells]
    order = sorted(names, key=lambda name: np.mean([one.value for one in found[name]]))
    print(
        f"\n{len(runs)} runs; how far the chosen checkpoint is behind the best, in {kind.quality}\n"
    )
    numbered = {run: str(number) for number, run in enumerate(runs, start=1)}
    header = ["chosen by", "mean", "largest", *numbered.values()]
    print(plain_table(header, [lines[name] for name in order], (0,)))
    for run, own in runs.items():
        truth = column(own, kind.quality)
        best = truth.max() if kind.higher_is_better else truth.min()
        print(f"{numbered[run]}: {run.removeprefix('run ')}, best {best:.3f}, last {truth[-1]:.3f}")
