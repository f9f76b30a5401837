"""The results of where_it_fails.py: a row is a candidate at a step, read on a probe batch."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from where_it_fails_plans import Plan

from prescreen.journal import Record

RESULTS = Path(__file__).parent / "results" / "where_it_fails.csv"

# What a row has besides what was measured; `failure` is the kind, and such a row has no values.
KEYS = ("experiment", "name", "factor", "level", "published", "failure", "step", "probe")

Row = dict[str, Any]


def write_results(
    experiment: str, planned: list[Plan], records: Mapping[str, Record], path: Path = RESULTS
) -> None:
    """Put the results of one experiment in the place of its earlier ones."""
    rows = [row for row in read_results(path) if row["experiment"] != experiment]
    for plan in planned:
        rows += _rows(plan, records[plan.name])
    names = list(dict.fromkeys([*KEYS, *(name for row in rows for name in row)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: _text(v) for k, v in row.items()} for row in rows)


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


def _text(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return "nan" if math.isnan(value) else f"{value:.4g}"


def _value(key: str, text: str) -> Any:
    return text if key in ("experiment", "name", "factor", "failure", "probe") else float(text)
