"""Of a study: what a report shows of an Optuna study."""

from __future__ import annotations

import math
from typing import Any

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from prescreen.integrations.optuna.attributes import trajectory
from prescreen.integrations.optuna.reasons import noted
from prescreen.report.data import OK, PRUNED, RUNNING, Entry, Findings
from prescreen.report.of_ranking import costs_in
from prescreen.report.placed import placed

_STATES = {
    TrialState.COMPLETE: OK,
    TrialState.PRUNED: PRUNED,
    TrialState.RUNNING: RUNNING,
    TrialState.FAIL: "failed",
}


def of_study(study: Study, *, stored: bool = False) -> Findings:
    """What a report shows of a study: trials by their objective, the others by their readings.

    Args:
        study: the study.
        stored: whether it was opened from its storage, which knows neither sampler nor pruner.
    """
    trials = [one for one in study.get_trials(deepcopy=False) if one.state in _STATES]
    entries = [_entry(one) for one in trials]
    several = len(study.directions) > 1
    names = study.metric_names or [f"objective {n}" if several else "objective" for n in (1, 2)]
    higher = study.directions[0] is StudyDirection.MAXIMIZE
    measures = [*dict.fromkeys(name for one in entries for name in one.values)]
    said = [f"Of {len(study.directions)} objectives the first orders trials."] if several else []
    findings = Findings(
        title=f"Optuna study {study.study_name}",
        entries=tuple(entries),
        measures=tuple(measures),
        score="share of completed trials beaten at its last reading",
        final=names[0],
        higher=higher,
        notes=tuple(said),
        settings=_settings(study, stored),
        ranges=_ranges(trials),
        hosted=True,
    )
    return placed(findings)


def _entry(trial: FrozenTrial) -> Entry:
    read = trajectory(trial)
    last = read.last if len(read) else None
    status, reason = _STATES[trial.state], _reason(trial)
    if failure := trial.user_attrs.get(f"prescreen:{trial.number}:failure"):
        status, reason = "failed", str(failure)
    took = trial.duration.total_seconds() if trial.duration is not None else math.nan
    values = dict(last.values) if last is not None else {}
    value = trial.values[0] if trial.state is TrialState.COMPLETE and trial.values else math.nan
    return Entry(
        name=f"trial {trial.number}",
        status=status,
        reason=reason,
        values=values,
        trajectory=read,
        seconds=took,
        overhead=last.overhead if last is not None else math.nan,
        costs=costs_in(values, last.parameters if last is not None else 0),
        config=dict(trial.params),
        final=value,
    )


def _reason(trial: FrozenTrial) -> str:
    """What the latest check of the pruner came to; empty before the first one."""
    reasons = noted(trial)
    return "" if reasons is None else reasons.last


def _settings(study: Study, stored: bool) -> dict[str, Any]:
    parts = {} if stored else {"sampler": study.sampler, "pruner": study.pruner}
    return {
        "study": study.study_name,
        "directions": ", ".join(one.name.lower() for one in study.directions),
        **{name: type(one).__name__ for name, one in parts.items()},
        **{f"attribute {name}": one for name, one in study.user_attrs.items()},
    }


def _ranges(trials: list[FrozenTrial]) -> dict[str, tuple[float, float]]:
    """What the study's numbers were suggested from."""
    found: dict[str, tuple[float, float]] = {}
    for trial in trials:
        for name, one in trial.distributions.items():
            if hasattr(one, "low") and hasattr(one, "high"):
                found[name] = float(one.low), float(one.high)
    return found
