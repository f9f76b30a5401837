"""Row: one candidate of a ranking."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from prescreen.equality import NanEqual
from prescreen.ranking.replay import Record
from prescreen.reading import Reading, Trajectory
from prescreen.spaces.candidate import Candidate


@dataclass(frozen=True, eq=False)
class Row(NanEqual):
    """One candidate of a ranking.

    Args:
        rank: 1 is best; None for a candidate that failed.
        name: the candidate's name.
        score: aggregated over the readouts, from 0 to 1; NaN for a candidate that failed, or that
            halving ended.
        score_low: lower end of its 95 % interval; NaN if it is not known (``Ranking.notes``).
        score_high: its upper end, likewise.
        tied: whether it cannot be told from the first.
        status: ``"ok"``, ``"halved"`` if halving ended it, or the kind of the failure (see
            ``CandidateFailed``).
        reason: why it failed, or where it was ended.
        values: its last readings, the mean over seeds.
        step: optimizer steps it was trained for, with each seed.
        seconds: wall seconds that it took, with all seeds.
        training_loss: mean over the last part of the budget.
        parameters: number of trainable parameters.
        config: the candidate's config.
        trajectory: all its readings with the first seed; in the journal, but not in JSON and CSV.
        execution: how it was trained on its device (`Reading.execution`); empty if it was not.
        measured_as: the candidate that computes the same and was measured in its place; empty if it was
            measured itself. Values are those of that one, and so are score and rank.
        cached: whether another run has measured it, with any seed; its seconds are those of then.
        also: names of the candidates that it was measured for beside itself.
    """

    rank: int | None
    name: str
    score: float
    score_low: float
    score_high: float
    tied: bool
    status: str
    reason: str
    values: Mapping[str, float]
    step: int
    seconds: float
    training_loss: float
    parameters: int
    config: Mapping[str, Any]
    trajectory: Trajectory = field(repr=False, compare=False)
    execution: str = ""
    measured_as: str = ""
    cached: bool = False
    also: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        candidate: Candidate,
        records: Sequence[Record],
        lasts: Sequence[Reading] = (),
    ) -> Row:
        """The row of a candidate without a place.

        Args:
            candidate: the candidate.
            records: of its trainings, one a seed.
            lasts: the last reading of each; if it failed, that of the first that did.
        """
        failures = [n for n, one in enumerate(records) if one.status != "finished"]
        number = failures[0] if failures else 0
        record = records[number]
        readings = [*lasts] or record.trajectory.readings[-1:] or [Reading(step=0, values={})]
        return cls(
            rank=None,
            name=candidate.name,
            score=math.nan,
            score_low=math.nan,
            score_high=math.nan,
            tied=False,
            status=record.status if failures else "ok",
            reason=record.reason + (f" (with seed +{number})" if number else ""),
            values={n: _mean(one.values[n] for one in readings) for n in readings[0].values},
            step=readings[0].step,
            seconds=sum(one.seconds for one in readings),
            training_loss=_mean(one.training_loss for one in readings),
            parameters=readings[0].parameters,
            config=candidate.config,
            trajectory=record.trajectory,
            execution=readings[0].execution,
            cached=any(one.cached for one in records),
        )

    def placed(self, rank: int, score: float, low: float, high: float, tied: bool) -> Row:
        """The same row with its place."""
        return replace(self, rank=rank, score=score, score_low=low, score_high=high, tied=tied)

    def to_dict(self) -> dict[str, Any]:
        """All fields except the trajectory."""
        kept = (f.name for f in fields(self) if f.name != "trajectory")
        return {name: getattr(self, name) for name in kept}


def _mean(numbers: Iterable[float]) -> float:
    found = [*numbers]
    return sum(found) / len(found)
