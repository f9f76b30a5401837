"""What checkpoint_selection.py compares: every series of readings that a checkpoint is chosen by."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from baselines.checkpoints import first_positive, label_wave
from checkpoint_selection_readings import POINTS, PROBE_SCALES, VIEWS
from checkpoint_selection_results import Row
from metrics import Floats

from prescreen import READOUTS, get_readout
from prescreen.readouts.paired import VIEW_WEIGHT

# Clean runs, read and judged on corrupted images.
CORRUPTED = "corrupted"


@dataclass(frozen=True, eq=False)
class Score:
    """One series of readings.

    Args:
        name: the readout or method.
        kind: how it was read: on what inputs, in which mode, divided by what.
        labels: whose labels it uses.
        values: one a checkpoint.
        higher_is_better: which way is good.
        rule: of the method's own, from values to a checkpoint's number, in the place of the
            package's.
    """

    name: str
    kind: str
    labels: str
    values: Floats
    higher_is_better: bool
    rule: Callable[[Floats], int] | None = None


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


def _highest(values: Floats) -> int:
    return int(np.nanargmax(values))


RULES: dict[str, tuple[str, bool, Callable[[Floats], int]]] = {
    "label_wave": ("training", False, lambda values: label_wave(values.tolist())),
    "evidence": ("training", True, lambda values: first_positive(values.tolist())),
    "validation.accuracy": ("validation", True, _highest),
}


def scores(run: list[Row], regime: str) -> Iterator[Score]:
    """All series of one run; of the corrupted regime those that were read on corrupted inputs."""
    column = partial(series, run)
    unseen = CORRUPTED if regime == CORRUPTED else "unseen"
    for name, readout in READOUTS.items():
        better = readout.higher_is_better
        read = column(f"{unseen}.{name}")
        yield Score(name, f"{unseen}, eval", "none", read, better)
        with np.errstate(invalid="ignore"):  # dispersion is −inf where all are of one class
            gap = column(f"seen.{name}") - read
        yield Score(name, f"seen − {unseen}, eval", "none", gap, not better)
        if regime != CORRUPTED:
            batch = column(f"unseen_batch.{name}")
            yield Score(name, "unseen, batch statistics", "none", batch, better)
    for scale in PROBE_SCALES:
        for column_name, mode in (("probe", "eval"), ("probe_batch", "batch statistics")):
            values = column(f"{column_name}.{scale}")
            yield Score("paper's probe", f"{scale}, {mode}", "training", values, False)
            yield Score("paper's probe", f"{scale}, {mode}, tail", "training", values, False, _tail)
    if regime != CORRUPTED:
        for point in POINTS:
            for scale, divisor in _divisors(run).items():
                better = get_readout(f"{point}/{scale}").higher_is_better
                values = column(f"grid.{point}") / divisor
                yield Score(point, f"{scale}, unseen, eval", "none", values, better)
    yield from _pairs(column, unseen)
    for name, (labels, better) in OTHERS.items():
        suffix = f".{unseen}" if name == "churn" else ""
        yield Score(name, "", labels, column(name + suffix), better)
    for name, (labels, better, rule) in RULES.items():
        yield Score(name, "own rule", labels, column(name), better, rule)


def _pairs(column: Callable[[str], Floats], unseen: str) -> Iterator[Score]:
    """Readouts of pairs: of two views, of a checkpoint and the one before."""
    information = column(f"{unseen}.mutual_information")
    before = column(f"divergence.{unseen}.before")
    yield Score("information − before", f"{unseen}, eval", "none", information - before, True)
    for view in VIEWS:
        kind = f"{unseen}, {view}, eval"
        yield Score("agreement", kind, "none", column(f"agreement.{unseen}.{view}"), True)
        other = column(f"divergence.{unseen}.{view}")
        yield Score("view_information", kind, "none", information - other, True)
        yield Score(
            "stable_information", kind, "none", information - VIEW_WEIGHT * other - before, True
        )


def _tail(values: Floats) -> int:
    """The lowest in the last quarter."""
    first = len(values) - max(1, round(TAIL * len(values)))
    return first + int(np.nanargmin(values[first:]))


def series(run: list[Row], name: str) -> Floats:
    """One value of all checkpoints, NaN where one lacks it."""
    return np.array([row.get(name, math.nan) for row in run], float)


def _divisors(run: list[Row]) -> dict[str, Floats]:
    head, feature = series(run, "scale.head"), series(run, "scale.feature")
    return {"none": np.ones(len(run)), "head": head, "feature": feature, "both": head * feature}
