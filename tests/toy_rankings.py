"""Rankings and studies that were not measured, for reports and figures."""

import math

import numpy as np
import optuna

from prescreen.integrations.optuna import Recorder
from prescreen.ranking.report import Ranking, Row
from prescreen.reading import Reading, Trajectory

PANEL = ("expected_agreement", "isotropy", "flops")
STEPS = (2, 4, 6, 8)


def make_row(index, count, *, noise, name=None, config=None, status="ok", reason="", tied=False):
    """A candidate whose measures fall with its index, blurred by noise in early readings."""
    worth = 1 - index / max(count - 1, 1)
    trajectory = Trajectory()
    for at, step in enumerate(STEPS):
        blur = noise * (len(STEPS) - 1 - at) / len(STEPS)
        values = {
            "expected_agreement": (0.2 + 0.6 * worth + blur) * step / STEPS[-1],
            "isotropy": 3 + worth,
            "flops": 1e6 * (1 + worth),
        }
        trajectory.append(
            Reading(
                step,
                values,
                seconds=step / 8,
                training_loss=2.0 - worth * step / 8,
                parameters=int(1000 * (1 + worth)),
                architecture=f"{index:x} Linear ReLU",
            )
        )
    failed = status != "ok"
    return Row(
        rank=None if failed else index + 1,
        name=name or f"candidate {index}",
        score=math.nan if failed else worth,
        score_low=math.nan if failed else max(worth - 0.1, 0),
        score_high=math.nan if failed else min(worth + 0.1, 1),
        tied=tied,
        status=status,
        reason=reason,
        values=dict(trajectory.last.values),
        step=STEPS[-1],
        seconds=1.0,
        training_loss=2.0 - worth,
        parameters=int(1000 * (1 + worth)),
        config=config if config is not None else {"width": count - index, "kind": "plain"},
        trajectory=trajectory,
    )


def make_ranking(count=8, failed=1, names=(), tied=1, noise=0.05, **more):
    """Candidates in a known order; the last ones failed."""
    blurs = np.random.default_rng(0).normal(0, noise, count + failed)
    named = dict(enumerate(names))
    rows = [
        make_row(i, count, noise=blurs[i], name=named.get(i), tied=0 < i <= tied)
        for i in range(count)
    ]
    rows += [
        make_row(
            i, count + failed, noise=0, name=named.get(i), status="diverged", reason="loss is nan"
        )
        for i in range(count, count + failed)
    ]
    return Ranking(tuple(rows), PANEL, **more)


def make_study(completed=6, pruned=3, direction="maximize", readouts=PANEL):
    """Trials whose readings and values fall with their number; the last ones are pruned early."""
    study = optuna.create_study(direction=direction)
    sign = 1 if direction == "maximize" else -1
    for number in range(completed + pruned):
        trial = study.ask()
        worth = 1 - number / (completed + pruned)
        trial.suggest_float("lr", 0, 1)
        recorder = Recorder(trial, readouts)
        early = number >= completed
        for step in STEPS[:2] if early else STEPS:
            recorder.record(step, dict.fromkeys(readouts, worth * step / 8), f"{number:x} ReLU")
        if early:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, sign * worth)
    return study
