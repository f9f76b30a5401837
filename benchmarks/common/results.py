"""Rows of results in a CSV file, whose columns are what was measured."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def write_rows(path: Path, keys: Sequence[str], rows: Iterable[Row], digits: int) -> None:
    """Write rows, the columns named by ``keys`` first; numbers with so many significant digits."""
    rows = list(rows)
    names = list(dict.fromkeys([*keys, *(name for row in rows for name in row)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: _text(v, digits) for k, v in row.items()} for row in rows)


def _text(value: Any, digits: int) -> Any:
    if not isinstance(value, float):
        return value
    return "nan" if math.isnan(value) else f"{value:.{digits}g}"
