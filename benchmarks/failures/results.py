"""The results of where_it_fails.py: a row is a candidate at a step, read on a probe batch."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from result_rows import Row, write_rows
from where_it_fails_plans import Plan

from prescreen.ranking.journal import Record

RESULTS = Path(__file__).parent / "results" / "where_it_fails.csv"

# What a row has besides what was measured; `failure` is the kind, and such a row has no values.
KEYS = ("experiment", "name", "factor", "level", "published", "failure", "step", "probe")


def write_results(
    experiment: str, planned: list[Plan], records: Mapping[str, Record], path: Path = RESULTS
) -> None:
    """Put the results of one experiment in the place of its earlier ones."""
    rows = [row for row in read_results(path) if row["experiment"] != experiment]
    for plan in planned:
        rows += _rows(plan, records[plan.name])
    write_rows(path, KEYS, rows, digits=4)


def read_results(path: Path = RESULTS) -> list[Row]:
    """All rows; what was measured is a number, a value that a row lacks is left out."""
    if not path.exists():
        return []
    with path.open() as file:
        return [
            {k: _value(k, text) for k, text in row.items() if text or k in KEYS}
            for row in csv.DictReader(file)
        ]


def _rows(plan: Plan, record: Record) -> list[Row]:
    row = {
        "experiment": plan.experiment,
        "name": plan.name,
        "factor": plan.factor,
        "level": plan.level,
        "published": math.nan if plan.published is None else plan.published,
        "failure": "" if record.status == "finished" else record.status,
        "step": 0,
        "probe": "",
    }
    if record.status != "finished":
        return [row]
    rows: dict[tuple[int, str], Row] = {}
    for reading in record.trajectory:
        for name, value in reading.values.items():
            probe, _, short = name.rpartition(": ")
            key = (reading.step, probe)
            rows.setdefault(key, {**row, "step": reading.step, "probe": probe})[short] = value
    return list(rows.values())


def _value(key: str, text: str) -> Any:
    return text if key in ("experiment", "name", "factor", "failure", "probe") else float(text)
