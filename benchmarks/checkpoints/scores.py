"""What is compared: every series of readings that a checkpoint is chosen by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.baselines.checkpoints import first_positive, label_wave
from benchmarks.checkpoints.readings import ANCHORS, GRADIENTS, PROBE_SCALES, VIEWS
from benchmarks.common.readouts import HEAD, VIEW_WEIGHT
from benchmarks.common.results import Row, column
from prescreen.ranks import Floats

# Clean runs, read and judged on corrupted images.
CORRUPTED = "corrupted"

# The anchor `expected` is no longer recorded; the committed results have its columns.
POINTS = tuple(f"{anchor}/{name}" for anchor in (*ANCHORS, "expected") for name in GRADIENTS)
# Uninformative anchors: the farther from them the better.
HIGHER = ("prior", "uniform")

# The package's own choice, as a score.
STABLE = "stable_information", "unseen, shifted, eval"

# The paper chooses in a short window at the end.
TAIL = 0.25

# Series by the name of their column: whose labels they use, and whether higher is better.
OTHERS = {
    "churn": ("none", False),
    "churn.seen": ("none", False),
    "training.loss": ("training", False),
    "training.accuracy": ("training", True),
    "gwa.training": ("training", True),
    "gwa.labels": ("training", True),
    "gradient_disparity": ("training", False),
    "label_wave": ("training", False),
    "validation.accuracy": ("validation", True),
    "validation.loss": ("validation", False),
}

RULES: dict[str, tuple[str, bool, Callable[[Floats], int]]] = {
    "label_wave": ("training", False, lambda values: label_wave(values.tolist())),
    "evidence": ("training", True, lambda values: first_positive(values.tolist())),
    "validation.accuracy": ("validation", True, lambda values: int(np.nanargmax(values))),
}


@dataclass(frozen=True, eq=False)
class Score:
    """One series of readings, one value per checkpoint."""

    name: str  # of the readout or method
    kind: str  # how it was read: on what inputs, in which mode, divided by what
    labels: str  # whose it uses
    values: Floats
    higher_is_better: bool
    # The method's own way from values to a checkpoint's number, instead of the package's.
    rule: Callable[[Floats], int] | None = None


def scores(run: Sequence[Row], regime: str) -> Iterator[Score]:
    """All series of one run; for the corrupted regime those read on corrupted inputs."""
    unseen = CORRUPTED if regime == CORRUPTED else "unseen"
    for name, readout in HEAD.items():
        if f"{unseen}.{name}" not in run[0]:  # newer than the results
            continue
        better = readout.higher_is_better
        read = column(run, f"{unseen}.{name}")
        yield Score(name, f"{unseen}, eval", "none", read, better)
        with np.errstate(invalid="ignore"):  # dispersion is −inf where all are of one class
            gap = column(run, f"seen.{name}") - read
        yield Score(name, f"seen − {unseen}, eval", "none", gap, not better)
        if regime != CORRUPTED:
            batch = column(run, f"unseen_batch.{name}")
            yield Score(name, "unseen, batch statistics", "none", batch, better)
    for scale in PROBE_SCALES:
        for probe, mode in (("probe", "eval"), ("probe_batch", "batch statistics")):
            values = column(run, f"{probe}.{scale}")
            yield Score("paper's probe", f"{scale}, {mode}", "training", values, False)
            yield Score("paper's probe", f"{scale}, {mode}, tail", "training", values, False, _tail)
    if regime != CORRUPTED:
        yield from _grid(run)
    yield from _pairs(run, unseen)
    for name, (labels, better) in OTHERS.items():
        suffix = f".{unseen}" if name == "churn" else ""
        yield Score(name, "", labels, column(run, name + suffix), better)
    for name, (labels, better, rule) in RULES.items():
        yield Score(name, "own rule", labels, column(run, name), better, rule)


def _grid(run: Sequence[Row]) -> Iterator[Score]:
    head, feature = column(run, "scale.head"), column(run, "scale.feature")
    scales = {"none": np.ones(len(run)), "head": head, "feature": feature, "both": head * feature}
    for point in POINTS:
        if f"grid.{point}" in run[0]:
            better = point.startswith(HIGHER)
            for scale, divisor in scales.items():
                values = column(run, f"grid.{point}") / divisor
                yield Score(point, f"{scale}, unseen, eval", "none", values, better)


def _pairs(run: Sequence[Row], unseen: str) -> Iterator[Score]:
    """Readouts of pairs: of two views, of a checkpoint and the one before."""
    information = column(run, f"{unseen}.mutual_information")
    before = column(run, f"divergence.{unseen}.before")
    yield Score("information − before", f"{unseen}, eval", "none", information - before, True)
    for view in VIEWS:
        kind, other = f"{unseen}, {view}, eval", column(run, f"divergence.{unseen}.{view}")
        stable = information - VIEW_WEIGHT * other - before
        agreement = column(run, f"agreement.{unseen}.{view}")
        yield Score("agreement", kind, "none", agreement, True)
        yield Score("view_information", kind, "none", information - other, True)
        yield Score("stable_information", kind, "none", stable, True)


def _tail(values: Floats) -> int:
    """The lowest in the last quarter."""
    first = len(values) - max(1, round(TAIL * len(values)))
    return first + int(np.nanargmin(values[first:]))
