"""Report: a ranking as text, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
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
        status: ``"ok"``, or the kind of the failure (see ``CandidateFailed``).
        reason: why it failed.
        values: its last readings.
        step: optimizer steps it was trained for.
        seconds: wall seconds that it took.
        training_loss: mean over the last part of the budget.
        parameters: number of trainable parameters.
        config: the candidate's config.
        trajectory: all its readings; in the journal, but not in JSON and CSV.
    """

    rank: int | None
    name: str
    score: float
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
        cls, candidate: Candidate, record: Record, rank: int | None = None, score: float = math.nan
    ) -> Row:
        """The row of a candidate, from its record in the journal."""
        trajectory = record.trajectory
        last = trajectory.last if len(trajectory) else Reading(step=0, values={})
        return cls(
            rank=rank,
            name=candidate.name,
            score=score,
            status="ok" if record.status == "finished" else record.status,
            reason=record.reason,
            values=last.values,
            step=last.step,
            seconds=last.seconds,
            training_loss=last.training_loss,
            parameters=last.parameters,
            config=candidate.config,
            trajectory=trajectory,
        )

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
        notes: what lowered the weight of some readouts.
        unwritten: files of results that could not be written.
    """

    rows: tuple[Row, ...]
    readouts: tuple[str, ...]
    left_out: tuple[str, ...] = ()
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
        panel = {"readouts": self.readouts, "left_out": self.left_out, "notes": self.notes}
        return json.dumps({**panel, "rows": finite(rows)}, indent=2)

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
        header = ["rank", "candidate", "score", *self.readouts, "params", "loss", "seconds"]
        good = [row for row in self.rows if row.rank is not None]
        cells = [
            [str(row.rank), row.name, f"{row.score:.3f}"]
            + [f"{row.values[name]:.4g}" for name in self.readouts]
            + [f"{row.parameters:,}", f"{row.training_loss:.3f}", f"{row.seconds:.1f}"]
            for row in good
        ]
        lines = [f"{row.name}  {row.status}: {row.reason}" for row in self.rows[len(good) :]]
        failed = [f"   -  {printable(line)}" for line in lines]
        names = printable(", ".join(self.left_out))
        notes = [f"Not in the score, as not defined for all: {names}"] if names else []
        notes += self.notes
        return "\n".join([plain_table(header, cells, left=(1,)), *failed, *notes])
