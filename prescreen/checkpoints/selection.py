"""Selection: which checkpoint of one run is best, from its readings alone."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from prescreen.checks import require, require_at_least
from prescreen.panel import Panel
from prescreen.ranks import Floats, aggregate
from prescreen.reading import Reading

# Fewer points than this always look monotone.
MIN_CURVE = 4


@dataclass(frozen=True)
class Choice:
    """A chosen checkpoint, and reasons to doubt the choice.

    Args:
        step: of the checkpoint.
        score: its smoothed value, with the readout's own sign; with several readouts, the mean rank
            within the window, from 0 (worst in all) to 1 (best in all).
        candidates: how many checkpoints of the window were compared.
        skipped: how many were not compared, because a readout was NaN.
        doubts: reasons not to trust the choice, each a clause.
    """

    step: int
    score: float
    candidates: int
    skipped: int = 0
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Selection:
    """How checkpoints are compared: the best value in a window at the end of training.

    Args:
        panel: the readouts, and which way each is good; several are aggregated by rank.
        start: first step of the window. Until a reading falls into it, all readings count.
        smoothing: an odd number of readings. Each value is the mean of this many readings around it,
            fewer at the ends of the window.

    Raises:
        ValueError: an argument is out of its range.
    """

    panel: Panel
    start: int = 0
    smoothing: int = 1

    def __post_init__(self) -> None:
        require_at_least("start", self.start, 0)
        require_at_least("smoothing", self.smoothing, 1)
        require("smoothing", "an odd number", self.smoothing, self.smoothing % 2 == 1)

    def ranked(self, readings: Iterable[Reading]) -> list[int]:
        """Steps of the window's readings without a NaN, best first; equals in reverse order of steps."""
        steps, _, scores = self._scores(readings)
        return [steps[i] for i in _order(steps, scores)]

    def choose(self, readings: Iterable[Reading]) -> Choice | None:
        """The best checkpoint; None if every reading has a NaN.

        Raises:
            ValueError: a reading lacks a readout of the panel.
        """
        readings = self.window(readings)
        steps, smoothed, scores = self._scores(readings)
        if not steps:
            return None
        best = _order(steps, scores)[0]
        one = len(self.panel) == 1
        return Choice(
            step=steps[best],
            score=self.panel.published((float(scores[best]),)) if one else float(scores[best]),
            candidates=len(steps),
            skipped=len(readings) - len(steps),
            doubts=tuple(_doubts(best, smoothed, self.panel.names)),
        )

    def choose_of(self, kept: Collection[int], readings: Sequence[Reading]) -> Choice | None:
        """The best checkpoint of the kept steps, or the latest if none has a value."""
        choice = self.choose(readings)
        if choice is not None and choice.step in kept:
            return choice
        others = [step for step in self.ranked(readings) if step in kept]
        if choice is not None and others:
            lost = f"step {choice.step} now reads better, but was not kept"
            return replace(choice, step=others[0], doubts=(*choice.doubts, lost))
        if not kept:
            return None
        doubts = ("no checkpoint that is kept has a value: it is the latest",)
        return Choice(max(kept), math.nan, 0, len(self.window(readings)), doubts)

    @property
    def compares_many(self) -> bool:
        """Whether the order of two checkpoints depends on the readings of others."""
        return len(self.panel) > 1 or self.smoothing > 1

    def worth_keeping(
        self, readings: Sequence[Reading], kept: Collection[int], save_top_k: int
    ) -> set[int]:
        """Steps whose files to keep.

        Args:
            readings: in the order of their steps; the file of the last is about to be written.
            kept: steps whose files still exist.
            save_top_k: how many to keep, −1 for all. In addition, the latest ``smoothing // 2`` are
                kept until the readings around them are complete.
        """
        latest = readings[-1].step
        if save_top_k == -1:
            return self._with_value(readings, kept) or {latest}
        ranked = self.ranked(readings)
        if not ranked:  # one without a value is better than none
            return {latest}
        half = self.smoothing // 2
        pending = sorted(ranked)[len(ranked) - half :] if half else []
        there = [step for step in ranked if step in kept or step == latest]
        return {*there[:save_top_k], *pending} & set(there) or {latest}

    def window(self, readings: Iterable[Reading]) -> list[Reading]:
        """The readings in the window, including those with NaN."""
        readings = list(readings)
        return [reading for reading in readings if reading.step >= self.start] or readings

    def _with_value(self, readings: Sequence[Reading], kept: Collection[int]) -> set[int]:
        """Steps in the window whose readings have values, out of the kept and the last one.

        Several are kept only if they all have values.
        """
        lone = [one for one in readings if one.step in kept] if len(kept) == 1 else []
        others = [one.step for one in lone if self._is_valued(one)] if lone else kept
        in_window = readings[-1].step >= self.start
        return {
            *(step for step in others if step >= self.start or not in_window),
            *(one.step for one in readings[-1:] if self._is_valued(one)),
        }

    def _is_valued(self, reading: Reading) -> bool:
        return not any(math.isnan(value) for value in self.panel.oriented(reading.values))

    def _scores(self, readings: Iterable[Reading]) -> tuple[list[int], Floats, Floats]:
        """Steps, smoothed values (steps, readouts) that are better when higher, and scores."""
        rows: list[tuple[float, ...]] = []
        steps: list[int] = []
        for reading in self.window(readings):
            if lacking := self.panel.lacking(reading.values):
                raise ValueError(
                    f"`reading` must have {', '.join(lacking)}, "
                    f"got {', '.join(reading.values) or 'nothing'} at step {reading.step}"
                )
            row = self.panel.oriented(reading.values)
            if not any(math.isnan(value) for value in row):
                steps.append(reading.step)
                rows.append(row)
        smoothed = smooth(np.array(rows).reshape(-1, len(self.panel)), self.smoothing)
        scores = smoothed[:, 0] if len(self.panel) == 1 else aggregate(smoothed)
        return steps, smoothed, scores


def _order(steps: Sequence[int], scores: Floats) -> list[int]:
    """Indices, best first; among equals the latest, which was trained longest, comes first."""
    return sorted(range(len(steps)), key=lambda i: (-scores[i], -steps[i]))


def smooth(values: Floats, window: int) -> Floats:
    """Running means along the first axis, over fewer values at the ends."""
    if window == 1:
        return values
    half = window // 2
    parts = [values[max(0, i - half) : i + half + 1] for i in range(len(values))]
    return np.array([part.mean(axis=0) for part in parts]).reshape(values.shape)


def _doubts(best: int, smoothed: Floats, names: Sequence[str]) -> Iterable[str]:
    """Reasons in the shape of the curves to doubt a choice."""
    count = len(smoothed)
    if count == 1:
        yield "it is the only checkpoint"
        return
    if best in (0, count - 1):
        place, beyond = ("first", "earlier") if best == 0 else ("last", "later")
        yield f"it is the {place} of the window: a better one may lie {beyond}"
    if count < MIN_CURVE:
        return
    for name, curve in zip(names, smoothed.T, strict=True):
        with np.errstate(invalid="ignore"):  # differences of two that are −inf
            changes = np.diff(curve)
        if (changes == 0).all():
            yield f"{name} does not change"
        elif (changes >= 0).all() or (changes <= 0).all():
            way = "better" if changes.sum() > 0 else "worse"
            yield f"{name} only gets {way}: it may follow training, not generalization"
