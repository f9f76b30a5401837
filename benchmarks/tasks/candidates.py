"""Candidates: what brief trainings say of them, and what they are truly worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.common.results import Row, column
from benchmarks.tasks.kind import TRUTH_SEEDS, Kind
from benchmarks.tasks.readouts import ahead, higher_is_better, is_of_network
from prescreen.comparison import compare
from prescreen.extrapolation import extrapolated
from prescreen.ranks import Floats


@dataclass(frozen=True, eq=False)
class Candidates:
    """What is known of candidates, in the order in which they were drawn.

    Args:
        values: of every column, (n,), with its published sign; NaN if undefined, or if the brief
            training failed.
        architectures: as `compare` takes them.
        truths: (n, seeds), turned so that higher is better; NaN where not measured yet.
    """

    values: dict[str, Floats]
    architectures: list[str]
    truths: Floats

    @property
    def truth(self) -> Floats:
        """The mean over seeds, (n,)."""
        return np.nanmean(self.truths, axis=1)

    def __len__(self) -> int:
        return len(self.truths)

    def at(self, rows: NDArray[Any]) -> Candidates:
        """Some of them."""
        values = {name: own[rows] for name, own in self.values.items()}
        architectures = [self.architectures[row] for row in np.arange(len(self))[rows]]
        return Candidates(values, architectures, self.truths[rows])

    def has(self, names: Sequence[str]) -> bool:
        """Whether all of these columns are defined for all candidates that did not fail."""
        failed = np.isnan(self.values["training.loss"])
        own = [self.values.get(name, np.full(len(self), math.nan)) for name in names]
        return all(not np.isnan(one[~failed]).any() for one in own)

    def scores(self, names: Sequence[str]) -> Floats:
        """Scores of a panel, as `rank` computes them, (n,)."""
        signs = [1.0 if higher_is_better(name) else -1.0 for name in names]
        oriented = np.stack([s * self.values[n] for s, n in zip(signs, names, strict=True)], 1)
        return compare(oriented, [is_of_network(n) for n in names], self.architectures).scores


def candidates_of(kind: Kind, rows: Sequence[Row]) -> Candidates:
    """Those of which a truth is known; a long training that failed is worth the least."""
    by_run: dict[str, list[Row]] = {}
    for row in rows:
        by_run.setdefault(row["run"], []).append(row)
    read, truths = [], []
    sign = 1 if kind.higher_is_better else -1
    for candidate in kind.candidates:
        brief = by_run.get(f"brief {candidate.name}")
        long = [by_run.get(f"truth {candidate.name} {seed}") for seed in TRUTH_SEEDS]
        if brief is not None and any(long):
            read.append(_last(brief))
            truths.append([_worth(kind, one) for one in long])
    oriented = sign * np.array(truths, float)
    worst = np.nanmin(oriented[np.isfinite(oriented)], initial=math.inf)
    oriented[np.isinf(oriented)] = worst
    names = dict.fromkeys(name for own in read for name in own)
    values = {name: column(read, name) for name in names if name not in ("run", "architecture")}
    return Candidates(values, [own.get("architecture", "") for own in read], oriented)


def _worth(kind: Kind, long: Sequence[Row] | None) -> float:
    """NaN if it is not known, infinite if the training failed."""
    if long is None:
        return math.nan
    return math.inf if "failure" in long[-1] else float(long[-1][kind.quality])


def _last(brief: Sequence[Row]) -> Row:
    """The last reading, and what is expected of each readout of the head after half as much again."""
    last = dict(brief[-1])
    if "failure" in last:
        return {}
    for name in brief[-1]:
        if name not in ("run", "architecture", "step", "seconds") and not is_of_network(name):
            curve = [(int(row["step"]), row[name]) for row in brief if not math.isnan(row[name])]
            last[ahead(name)] = extrapolated(curve) if curve else math.nan
    return last


def living(kind: Kind, every: Candidates) -> Candidates:
    """Those that learned something."""
    return every if kind.dead is None else every.at(every.truth > kind.dead)


def halves(found: Candidates) -> tuple[Candidates, Candidates]:
    """Those that a default is chosen on, and those that it is reported on."""
    rows = np.arange(len(found))
    return found.at(rows[: len(found) // 2]), found.at(rows[len(found) // 2 :])
