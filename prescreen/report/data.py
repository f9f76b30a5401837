"""Data: what a report shows, as plain values, whatever they were collected from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch

from prescreen.equality import NanEqual
from prescreen.reading import Trajectory
from prescreen.readouts import Readout, get_readout

OK, PRUNED, RUNNING = "ok", "pruned", "running"
PARAMETERS, FLOPS, LATENCY = "parameters", "flops", "latency"
UNITS = {PARAMETERS: "", FLOPS: "FLOPs per sample", LATENCY: "ms"}


@dataclass(frozen=True, eq=False)
class Entry(NanEqual):
    """One candidate.

    Args:
        name: its name.
        rank: 1 is best; None if it is not ranked.
        score: from 0 to 1; NaN if it has none.
        low, high: ends of its 95 % interval; NaN if they are not known.
        tied: whether it cannot be told from the first.
        status: ``"ok"``, ``"pruned"``, ``"running"``, or the kind of its failure.
        reason: why it failed, was pruned or was kept.
        changes: what would change its place, a line each; empty if that was not asked.
        values: its last readings.
        trajectory: all of them.
        seconds: wall seconds that it took; NaN if unknown.
        overhead: those of them that reading took; NaN if unknown.
        costs: capacity by name: ``"parameters"``, ``"flops"``, ``"latency"`` in milliseconds.
        config: what distinguishes it.
        final: its final result; NaN if there is none.
    """

    name: str
    rank: int | None = None
    score: float = math.nan
    low: float = math.nan
    high: float = math.nan
    tied: bool = False
    status: str = OK
    reason: str = ""
    changes: tuple[str, ...] = ()
    values: Mapping[str, float] = field(default_factory=dict)
    trajectory: Trajectory = field(default_factory=Trajectory)
    seconds: float = math.nan
    overhead: float = math.nan
    costs: Mapping[str, float] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    final: float = math.nan

    @property
    def failed(self) -> bool:
        """Whether it failed; pruned and running ones did not."""
        return self.status not in (OK, PRUNED, RUNNING)

    @property
    def step(self) -> int:
        """The step of its last reading; 0 if there is none."""
        return self.trajectory.last.step if len(self.trajectory) else 0


@dataclass(frozen=True)
class Findings:
    """All that a report shows.

    Args:
        title: of what.
        entries: those with a rank first, by rank.
        measures: the panel.
        left_out: measures that do not count, and why.
        score: what the score is, in a few words.
        final: the name of the final result; empty if there is none.
        higher: whether a higher final result is better.
        seeds: how often each candidate was trained.
        notes: what was said of the order.
        settings: of the run: names to plain values.
        ranges: the smallest and largest value that the space allows, by the name in ``config``.
        samples: how many the probe batch has; 0 if that is not known.
        hosted: whether they are trials of a host, which final results order.
    """

    title: str
    entries: tuple[Entry, ...]
    measures: tuple[str, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)
    score: str = "share of pairs won"
    final: str = ""
    higher: bool = True
    seeds: int = 1
    notes: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    samples: int = 0
    hosted: bool = False

    @property
    def ranked(self) -> list[Entry]:
        """Those with a place, best first."""
        return [one for one in self.entries if one.rank is not None]

    @property
    def read(self) -> list[Entry]:
        """Those that were read and did not fail."""
        return [one for one in self.entries if len(one.trajectory) and not one.failed]


def sign_of(measure: str) -> int:
    """1 if a higher value is better, -1 if a lower one is; 1 for a measure that is not known."""
    known = _known(measure)
    return 1 if known is None or known.higher_is_better else -1


def is_of_network(measure: str) -> bool:
    """Whether it is a measure of the untrained network; False for one that is not known."""
    known = _known(measure)
    return known is not None and known.of_network


@lru_cache
def _known(measure: str) -> Readout | None:
    try:
        return get_readout(measure, torch.zeros(1, dtype=torch.long))
    except ValueError:
        return None
