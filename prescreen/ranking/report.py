"""Report: a ranking as text, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from os import PathLike
from typing import Any

from prescreen.frames import frame, html_table, with_values, write_parquet
from prescreen.ranking.compared import Compared
from prescreen.ranking.explaining import explain
from prescreen.ranking.explanation import Explanation
from prescreen.ranking.row import Row
from prescreen.tables import fitted_line, fitted_table
from prescreen.text import finite, printable, spreadsheet_cell

# Of the JSON: 1 had no name of a schema. What a field means never changes; fields may join.
RANKING_SCHEMA = "prescreen.ranking/2"


@dataclass(frozen=True)
class Ranking:
    """Candidates from best to worst.

    Args:
        rows: best first; those that halving ended come after the others, and failed candidates last,
            with a reason.
        readouts: the panel.
        left_out: readouts that the scores leave out, as they are not defined for all candidates.
        seeds: how often each candidate was trained.
        notes: what lowered the weight of readouts, what the intervals of scores are of, and what would
            tell the first two apart.
        unwritten: files of results that could not be written.
        compared: what the scores were computed from; None in a ranking that was made by hand.
    """

    rows: tuple[Row, ...]
    readouts: tuple[str, ...]
    left_out: tuple[str, ...] = ()
    seeds: int = 1
    notes: tuple[str, ...] = ()
    unwritten: tuple[str, ...] = field(default=(), compare=False)
    compared: Compared | None = field(default=None, repr=False, compare=False)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def _measured(self) -> list[Row]:
        return [row for row in self.rows if not row.measured_as]

    @property
    def best(self) -> Row:
        """The first row.

        Raises:
            ValueError: every candidate failed.
        """
        if not self.rows or self.rows[0].rank is None:
            raise ValueError("the ranking must have a candidate that did not fail, got none")
        return self.rows[0]

    def explain(self, name: str) -> Explanation:
        """Why a candidate is ranked where it is, and what would change that.

        Raises:
            ValueError: there is no such candidate.
        """
        return explain(self.rows, self.compared, name, self.seeds)

    def to_json(self) -> str:
        """Strict JSON (docs/json.md); values that are not finite become null."""
        rows = [row.to_dict() for row in self.rows]
        panel = {"readouts": self.readouts, "left_out": self.left_out, "seeds": self.seeds}
        content = {"schema": RANKING_SCHEMA, **panel, "notes": self.notes, "rows": rows}
        return json.dumps(finite(content), indent=2, allow_nan=False)

    def to_pandas(self) -> Any:
        """A pandas table: a row for each candidate, a column for each field of ``Row`` and each value.

        The config is a JSON column. Trajectories have tables of their own.

        Raises:
            ImportError: pandas is missing.
        """
        apart = ("values", "config", "trajectory", "also")
        names = [field.name for field in fields(Row) if field.name not in apart]
        fixed = {name: [getattr(row, name) for row in self.rows] for name in names}
        configs = [json.dumps(dict(row.config)) for row in self.rows]
        table = frame(with_values({**fixed, "config": configs}, [row.values for row in self.rows]))
        return table.astype({"rank": "Int64"})  # it has missing values, and is no float

    def to_parquet(self, path: str | PathLike[str]) -> None:
        """Write the table into a Parquet file.

        Raises:
            ImportError: pandas or pyarrow is missing.
            OSError: the file cannot be written.
        """
        write_parquet(self.to_pandas(), path)

    def _repr_html_(self) -> str:
        known = any(not math.isnan(row.score_low) for row in self.rows)
        header = ["rank", "candidate", "score", *["±", "="] * known, *self.readouts, "parameters"]
        good = [row for row in self._measured if row.rank is not None]
        cells = [
            [str(row.rank), _names(row), _shown(row.score)]
            + [_shown(_half(row)), "=" if row.tied else ""] * known
            + [f"{row.values[name]:.4g}" for name in self.readouts]
            + [f"{row.parameters:,}"]
            for row in good
        ]
        failed = [
            f"{_names(row)}: {row.status}: {row.reason}" for row in self._measured[len(good) :]
        ]
        apart = [f"Not in the score, as not defined for all: {', '.join(self.left_out)}"]
        return html_table(
            header, cells, [*failed, *apart[: len(self.left_out)], *self.notes], left=2
        )

    def to_csv(self) -> str:
        """One line per candidate, one column per readout; the config is a JSON column.

        Texts are escaped where a terminal or spreadsheet would act on them.
        """
        apart = ("values", "config", "trajectory", "also")
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
        return self.to_text()

    def to_text(self, width: int | None = None) -> str:
        """A table for people.

        Args:
            width: in characters; columns that have no room are named below it. None for no limit.
        """
        known = any(not math.isnan(row.score_low) for row in self.rows)
        sure = ["±", "="] if known else []
        header = ["rank", "candidate", "score", *sure, *self.readouts, "params", "loss", "sec"]
        good = [row for row in self._measured if row.rank is not None]
        cells = [
            [str(row.rank), _names(row), _shown(row.score)]
            + [_shown(_half(row)), "=" if row.tied else ""][: len(sure)]
            + [f"{row.values[name]:.4g}" for name in self.readouts]
            + [f"{row.parameters:,}", f"{row.training_loss:.3f}", f"{row.seconds:.1f}"]
            for row in good
        ]
        bad = [f"{_names(row)}  {row.status}: {row.reason}" for row in self._measured[len(good) :]]
        failed = [f"   -  {printable(line)}" for line in bad]
        names = printable(", ".join(self.left_out))
        left_out = [f"Not in the score, as not defined for all: {names}"] if names else []
        # Seconds, loss and parameters first, and of the readouts the last ones.
        spare = range(len(header) - 1, 2 + len(sure), -1)
        table, unseen = fitted_table(header, cells, left=(1,), wrap=(1,), width=width, spare=spare)
        hidden = [f"No room in {width} columns: {', '.join(unseen[::-1])}"] if unseen else []
        lines = [*failed, *left_out, *map(printable, self.notes), *hidden]
        return "\n".join([table, *(fitted_line(line, width) for line in lines)])


def _shown(number: float) -> str:
    """Of a candidate that halving ended there is no score."""
    return "" if math.isnan(number) else f"{number:.3f}"


def _names(row: Row) -> str:
    """A candidate, and those that compute the same."""
    return f"{row.name}, also: {', '.join(row.also)}" if row.also else row.name


def _half(row: Row) -> float:
    """Half the width of a score's interval, of which the scale from 0 to 1 may cut off an end."""
    return max(row.score_high - row.score, row.score - row.score_low)
