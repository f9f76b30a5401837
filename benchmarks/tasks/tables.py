"""The tables of a kind of task."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.common.results import Row
from benchmarks.tasks.across import print_candidates
from benchmarks.tasks.along import print_runs
from benchmarks.tasks.kind import Kind


def print_tables(
    kind: Kind, across: Sequence[Row], runs: Sequence[Row], *, full: bool = False
) -> None:
    """Across candidates, then along training."""
    print_candidates(kind, across, kind.panel, full=full)
    print_runs(kind, runs, full=full)
