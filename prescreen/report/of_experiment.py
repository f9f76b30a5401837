"""Of an experiment: what a report shows of a Ray Tune experiment, from the plain files in its folder.

Tune's own classes read pickles, which could run code. The JSON files hold all that is needed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prescreen.integrations.ray.results import FAILURE, PREFIX, REASON, STEP, STOPPED, reading_in
from prescreen.reading import Reading, Trajectory
from prescreen.report.data import OK, PRUNED, RUNNING, Entry, Findings
from prescreen.report.of_ranking import costs_in
from prescreen.report.placed import placed

_STATES = "experiment_state*.json"
# What Tune adds to every result, and what is part of a reading.
_NOT_RESULTS = {
    *("timestamp", "training_iteration", "time_this_iter_s", "time_total_s", "pid"),
    *("time_since_restore", "iterations_since_restore", "done", STEP),
    *("training_loss", "parameters", "seconds"),
}


def of_experiment(folder: Path) -> Findings:
    """What a report shows of an experiment: trials in the order of Tune.

    Raises:
        ValueError: the folder is not that of an experiment, or a file in it is damaged.
    """
    states = sorted(folder.glob(_STATES))
    if not states:
        raise ValueError(f"`folder` must be that of a Ray experiment, got {str(folder)!r}")
    try:
        state = json.loads(states[-1].read_text(encoding="utf-8"))
        known = [json.loads(one[0]) for one in state["trial_data"]]
        own = {str(one["trial_id"]): str(one["status"]) for one in known}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ValueError(
            f"`folder` must hold a state of Tune that can be read, got {states[-1]} ({error!r:.200})"
        ) from None
    found = [one for path in sorted(folder.glob("*/result.json")) if (one := _results(path))]
    ends = [int(results[-1].get(STEP, 0)) for results in found]
    entries = [_entry(results, own, max(ends, default=0)) for results in found]
    measures = dict.fromkeys(
        name
        for results in found
        for result in results[-1:]
        for name in (getattr(reading_in(result), "values", {}))
    )
    metric = str(state.get("runner_data", {}).get("_metric") or "")
    findings = Findings(
        title=f"Ray experiment {folder.resolve().name}",
        entries=tuple(entries),
        measures=tuple(measures),
        score="share of completed trials beaten at its last reading",
        hosted=True,
        settings={"folder": str(folder), "trials": len(entries), "metric": metric},
        notes=(f"Readings order the trials; --final {metric} would do it by Tune's metric.",)
        if metric
        else (),
    )
    return placed(findings)


def _results(path: Path) -> list[dict[str, Any]]:
    """The results of a trial; a last line that was being written is left out."""
    results = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            one = json.loads(line)
        except ValueError:
            continue
        if isinstance(one, dict):
            results.append(one)
    return results


def _entry(results: list[dict[str, Any]], states: Mapping[str, str], end: int) -> Entry:
    last = results[-1]
    trial = str(last.get("trial_id", ""))
    nested = last.get(PREFIX)
    own = nested if isinstance(nested, dict) else {}
    trajectory = Trajectory()
    for reading in _readings(results):
        if not len(trajectory) or reading.step > trajectory.last.step:
            trajectory.append(reading)
    values = dict(trajectory.last.values) if len(trajectory) else {}
    for name, value in last.items():
        plain = isinstance(value, int | float) and not isinstance(value, bool)
        if plain and name not in _NOT_RESULTS:
            values.setdefault(name, float(value))
    status, reason = _status(own, states.get(trial, ""), int(last.get(STEP, 0)), end)
    return Entry(
        name=f"trial {trial}",
        status=status,
        reason=reason,
        values=values,
        trajectory=trajectory,
        seconds=_number(last.get("time_total_s")),
        overhead=trajectory.last.overhead if len(trajectory) else math.nan,
        costs=costs_in(values, int(_number(last.get("parameters", 0)) or 0)),
        config=dict(last.get("config") or {}),
    )


def _status(own: Mapping[str, Any], state: str, step: int, end: int) -> tuple[str, str]:
    if FAILURE in own:
        return "failed", str(own[FAILURE])
    if state == "ERROR":
        return "failed", "it raised an error: see error.txt in its folder"
    if state in ("RUNNING", "PENDING", "PAUSED"):
        return RUNNING, ""
    reason = str(own.get(REASON, ""))
    if own.get(STOPPED):
        return PRUNED, reason or f"pruned at step {step}"
    if step < end:
        return PRUNED, f"ended early, at step {step} of {end}"
    return OK, reason


def _readings(results: list[dict[str, Any]]) -> Iterator[Reading]:
    for result in results:
        try:
            reading = reading_in(result)
        except (TypeError, ValueError):
            continue
        if reading is not None:
            yield Reading(
                reading.step,
                reading.values,
                seconds=_number(result.get("time_total_s")),
                training_loss=_number(result.get("training_loss")),
                architecture=reading.architecture,
                overhead=reading.overhead,
            )


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan
