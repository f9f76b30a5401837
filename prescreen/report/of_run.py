"""Of a run: what a report shows of a folder that `rank` wrote, also while it is still written."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from prescreen.ranking.opened import Run, open_run
from prescreen.reading import Trajectory
from prescreen.report.data import RUNNING, Entry, Findings
from prescreen.report.of_ranking import of_ranking

_MOST_CODES = 8


def of_run(folder: Path) -> Findings:
    """What a report shows of a run.

    Raises:
        ValueError: the folder holds no journal, or a damaged one.
    """
    run = open_run(folder)
    findings = of_ranking(run.ranking, f"Run {run.folder.resolve().name}")
    known = {one.name for one in findings.entries}
    begun = tuple(_begun(run, name) for name in run.unfinished if name not in known)
    return replace(
        findings,
        entries=(*findings.entries, *begun),
        settings=_settings(run),
        samples=run.samples,
    )


def _begun(run: Run, name: str) -> Entry:
    read = (*run.trajectories.get(name, ()), Trajectory())[0]
    last = read.last if len(read) else None
    return Entry(
        name=name,
        status=RUNNING,
        trajectory=read,
        values=dict(last.values) if last is not None else {},
    )


def _settings(run: Run) -> dict[str, Any]:
    """What was measured and under what, as the journal notes it."""
    task, _, fingerprint = str(run.settings.get("task", "")).rpartition(" ")
    first, last = (
        time.strftime("%Y-%m-%d %H:%M", time.localtime(one)) if one else "" for one in run.times
    )
    codes = Counter(f"{part} {own}" for code in run.codes.values() for part, own in code.items())
    return {
        "folder": str(run.folder),
        "measured": f"{first} to {last}" if first != last else first,
        **{name: one for name, one in run.settings.items() if name != "task"},
        "task": task or fingerprint,
        "fingerprint of the data": fingerprint,
        "samples of the probe": run.samples or None,
        "seeds of each candidate": run.seeds,
        "code of the space": [one for one, _ in codes.most_common(_MOST_CODES)],
        "given": run.given,
        "schema of the journal": run.schema,
    }
