"""The table of early stopping: what it saves, and what that costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from benchmarks.baselines.checkpoints import label_wave
from benchmarks.checkpoints.choice import WINDOW, pick
from benchmarks.checkpoints.scores import STABLE, scores
from benchmarks.common.results import Row, column
from prescreen import EarlyStopping, Reading
from prescreen.ranks import Floats
from prescreen.text import plain_table

PATIENCE = (3, 6)
HEADER = ("stopped by", "labels", "training saved", "points lost", "at worst", "behind oracle")


@dataclass(frozen=True)
class Stopped:
    """One run: numbers of the last checkpoint that was trained, and of the chosen one."""

    end: int
    chosen: int


Stopping = Callable[[list[Row], str], Stopped]


def stopping_table(own: Sequence[list[Row]], regime: str) -> str:
    """Share of training saved; points lost against the last checkpoint of the whole training."""
    lines = []
    for name, labels, stopping in _methods():
        saved, lost, gaps = [], [], []
        for run in own:
            test, stopped = column(run, "test"), stopping(run, regime)
            saved.append(1 - (stopped.end + 1) / len(test))
            lost.append(100 * (test[-1] - test[stopped.chosen]))
            gaps.append(100 * (test.max() - test[stopped.chosen]))
        line = [name, labels, f"{100 * np.mean(saved):.0f} %", f"{np.mean(lost):+.2f}"]
        lines.append([*line, f"{max(lost):+.2f}", f"{np.mean(gaps):.2f}"])
    return plain_table(HEADER, lines, (0, 1))


def _methods() -> Iterator[tuple[str, str, Stopping]]:
    for name, kind in (STABLE, ("mutual_information", "unseen, eval")):
        yield name, "none", partial(_by_readout, name, kind)
    for name, sign in (("validation.loss", -1), ("validation.accuracy", 1)):
        for patience in PATIENCE:
            by = partial(_by_patience, name, sign, patience)
            yield f"{name}, patience {patience}", "validation", by
    yield "label_wave", "training", _by_label_wave
    yield "nothing: the last checkpoint", "none", lambda run, _: Stopped(len(run) - 1, len(run) - 1)


def _by_readout(name: str, kind: str, run: list[Row], regime: str) -> Stopped:
    """Stop as the package does, with its defaults."""
    (score,) = (s for s in scores(run, regime) if (s.name, s.kind) == (name, kind))
    stopping = EarlyStopping(name)
    end = len(run) - 1
    for i, value in enumerate(score.values.tolist()):
        if stopping.update(Reading(i, {name: value})):
            end = i
            break
    return Stopped(end, pick(replace(score, values=score.values[: end + 1]), WINDOW))


def _by_patience(name: str, sign: int, patience: int, run: list[Row], regime: str) -> Stopped:
    """The best so far, once `patience` checkpoints have not been better."""
    values: Floats = sign * column(run, name)
    best = 0
    for i, value in enumerate(values):
        if value > values[best]:
            best = i
        elif i - best >= patience:
            return Stopped(i, best)
    return Stopped(len(run) - 1, best)


def _by_label_wave(run: list[Row], regime: str) -> Stopped:
    """The minimum is known one checkpoint later."""
    chosen = label_wave(column(run, "label_wave").tolist())
    return Stopped(min(chosen + 1, len(run) - 1), chosen)
