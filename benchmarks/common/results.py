"""Results: CSV files with one row per reading, and one writer and one reader for all of them.

The first columns tell rows apart: `run` (what was trained or scored), `failure` (its kind, if the run
failed), `step`, and what the benchmark varies. The others hold one value each. An empty cell was
not measured; `nan` is undefined.

Files are wide. Rows of (run, step, name, value) would repeat run and name with each of 85,000 values,
and the files would be six times as long.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prescreen.ranks import Floats
from prescreen.reading import Trajectory

Row = dict[str, Any]

# All other columns hold numbers.
TEXTS = frozenset({"run", "failure", "factor", "probe", "architecture"})


def write(path: Path, rows: Iterable[Row], digits: int = 6) -> None:
    """Replace a file of results; numbers are rounded to `digits` significant digits."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(names), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {k: f"{v:.{digits}g}" if isinstance(v, float) else v for k, v in row.items()}
            )
    print(f"written: {path}", flush=True)


def read(path: Path) -> list[Row]:
    """All rows, without empty cells."""
    if not path.exists():
        raise SystemExit(f"no results in {path}; train them first")
    with path.open(newline="") as file:
        return [
            {k: text if k in TEXTS else float(text) for k, text in row.items() if text}
            for row in csv.DictReader(file)
        ]


def column(rows: Sequence[Row], name: str) -> Floats:
    """One value of all rows, NaN where a row lacks it."""
    return np.array([row.get(name, math.nan) for row in rows], float)


def readings(run: str, status: str, trajectory: Trajectory) -> list[Row]:
    """One row per reading of a journalled run, or one row that says how it failed."""
    if status != "finished":
        return [{"run": run, "failure": status}]
    return [
        {"run": run, "failure": "", "step": reading.step, "seconds": reading.seconds}
        | {"training.loss": reading.training_loss, **reading.values}
        for reading in trajectory
    ]


def without_failures(rows: Sequence[Row], told: str = "") -> list[Row]:
    """The rows of runs that did not fail; the others are printed, each after the prefix `told`."""
    for row in rows:
        if "failure" in row:
            print(f"{told}left out, it failed as {row['failure']!r}: {row['run']}")
    return [row for row in rows if "failure" not in row]
