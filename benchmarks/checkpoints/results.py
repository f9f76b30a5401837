"""The results of checkpoint_selection.py: a row is a checkpoint of a run."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from checkpoint_selection_runs import Plan
from result_rows import Row, write_rows

from prescreen.ranking.journal import Record

RESULTS = Path(__file__).parent / "results" / "checkpoint_selection.csv"

# What a row has besides what was measured; `failure` is the kind, and such a row has no values.
TEXTS = ("regime", "architecture", "failure")
KEYS = ("regime", "architecture", "seed", "failure", "step", "seconds", "training.loss")


def write_results(planned: list[Plan], records: Mapping[str, Record], path: Path = RESULTS) -> None:
    """All runs, in the order of the plans; five significant digits."""
    rows = [row for plan in planned for row in _rows(plan, records[plan.name])]
    write_rows(path, KEYS, rows, digits=5)


def read_results(path: Path = RESULTS) -> list[Row]:
    """All rows; what was measured is a number, a value that a row lacks is left out."""
    if not path.exists():
        return []
    with path.open() as file:
        return [
            {
                k: text if k in TEXTS else float(text)
                for k, text in row.items()
                if text or k in TEXTS
            }
            for row in csv.DictReader(file)
        ]


def _rows(plan: Plan, record: Record) -> list[Row]:
    run = {"regime": plan.regime, "architecture": plan.architecture, "seed": plan.seed}
    if record.status != "finished":
        return [{**run, "failure": record.status}]
    return [
        {
            **run,
            "failure": "",
            "step": reading.step,
            "seconds": reading.seconds,
            "training.loss": reading.training_loss,
            **reading.values,
        }
        for reading in record.trajectory
    ]
