"""Report: a ranking as text, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

from prescreen.ranking.replay import Record
from prescreen.reading import Reading, Trajectory
from prescreen.spaces.candidate import Candidate
from prescreen.text import finite, plain_table, printable, spreadsheet_cell


@dataclass(frozen=True)
class Row:
    """One candidate of a ranking.

    Args:
        rank: 1 is best; None for a candidate that failed.
        name: the candidate's name.
        score: aggregated over the readouts, from 0 to 1; NaN for a candidate that failed.
        score_low, score_high: ends of its 95 % interval; NaN if it is not known (``Ranking.notes``).
        tied: whether it cannot be told from the first.
        status: ``"ok"``, or the kind of the failure (see ``CandidateFailed``).
        reason: why it failed.
        values: its last readings, the mean over seeds.
        step: optimizer steps it was trained for, with each seed.
        seconds: wall seconds that it took, with all seeds.
        training_loss: mean over the last part of the budget.
        parameters: number of trainable parameters.
        config: the candidate's config.
        trajectory: all its readings with the first seed; in the journal, but not in JSON and CSV.
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
        )

    def placed(self, rank: int, score: float, low: float, high: float, tied: bool) -> Row:
        """The same row with its place."""
        return replace(self, rank=rank, score=score, score_low=low, score_high=high, tied=tied)

    def to_dict(self) -> dict[str, Any]:
        """All fields except the trajectory."""
        kept = (f.name for f in fields(self) if f.name != "trajectory")
        return {name: getattr(self, name) for name in kept}


@dataclass(frozen=True)
class Ranking:
    """Candidates from best to worst.

    Args:
        rows: best first; failed candidates come last, with a reason.
        readouts: the panel.
        left_out: readouts that the scores leave out, as they are not defined for all candidates.
        seeds: how often each candidate was trained.
        notes: what lowered the weight of readouts, what the intervals of scores are of, and what would
            tell the first two apart.
        unwritten: files of results that could not be written.
    """

    rows: tuple[Row, ...]
    readouts: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    seeds: int = 1
    notes: tuple[str, ...] = ()
    unwritten: tuple[str, ...] = field(default=(), compare=False)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def best(self) -> Row:
        """The first row.

        Raises:
            ValueError: every candidate failed.
        """
        if not self.rows or self.rows[0].rank is None:
            raise ValueError("the ranking must have a candidate that did not fail, got none")
        return self.rows[0]

    def to_json(self) -> str:
        """Strict JSON; values that are not finite become null."""
        rows = [row.to_dict() for row in self.rows]
        panel = {"readouts": self.readouts, "left_out": self.left_out, "seeds": self.seeds}
        return json.dumps({**panel, "notes": self.notes, "rows": finite(rows)}, indent=2)

    def to_csv(self) -> str:
        """One line per candidate, one column per readout; the config is a JSON column.

        Texts are escaped where a terminal or spreadsheet would act on them.
        """
        apart = ("values", "config", "trajectory")
        fixed = [field.name for field in fields(Row) if field.name not in apart]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(map(spreadsheet_cell, [*fixed, *self.readouts, "config"]))
        for row in self.rows:
            cells = [getattr(row, name) for name in fixed]
            cells += [row.values.get(name) for name in self.readouts]
            cells.append(json.dumps(dict(row.config)))
            writer.writerow([spreadsheet_cell(c) if isinstance(c, str) else c for c in cells])
        return text.getvalue()

    def __str__(self) -> str:
        known = any(not math.isnan(row.score_low) for row in self.rows)
        sure = ["±", "="] if known else []
        header = ["rank", "candidate", "score", *sure, *self.readouts, "params", "loss", "sec"]
        good = [row for row in self.rows if row.rank is not None]
        cells = [
            [str(row.rank), row.name, f"{row.score:.3f}"]
            + [f"{_half(row):.3f}", "=" if row.tied else ""][: len(sure)]
            + [f"{row.values[name]:.4g}" for name in self.readouts]
            + [f"{row.parameters:,}", f"{row.training_loss:.3f}", f"{row.seconds:.1f}"]
            for row in good
        ]
        bad = [f"{row.name}  {row.status}: {row.reason}" for row in self.rows[len(good) :]]
        failed = [f"   -  {printable(line)}" for line in bad]
        names = printable(", ".join(self.left_out))
        left_out = [f"Not in the score, as not defined for all: {names}"] if names else []
        lines = [*failed, *left_out, *map(printable, self.notes)]
        return "\n".join([plain_table(header, cells, left=(1,)), *lines])


def _half(row: Row) -> float:
    """Half the width of a score's interval, of which the scale from 0 to 1 may cut off an end."""
    return max(row.score_high - row.score, row.score - row.score_low)


def _mean(numbers: Iterable[float]) -> float:
    found = [*numbers]
    return sum(found) / len(found)
