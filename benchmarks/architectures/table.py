"""The results of nas_bench_201.py: how they are kept, and the table that is printed from them."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from baselines import AFTER_TRAINING, AT_INITIALISATION, BASELINES
from metrics import METRICS, Floats, bootstrap

from prescreen import RANKING_PANEL, READOUTS, UNTRAINED, Trajectory
from prescreen.ranking.report import Row, plain_table
from prescreen.ranks import aggregate

FOLDER = Path(__file__).parent / "results"
RESULTS = FOLDER / "nas_bench_201.csv"
TRAJECTORIES = FOLDER / "nas_bench_201_trajectories.csv"

MIN_CELLS = 20
DEFAULT = "prescreen (default panel)"

# What decisions over time are replayed from.
RECORDED = (
    *RANKING_PANEL,
    *("mutual_information", "confidence", "validation_accuracy", "validation_accuracy_batch"),
)


def write_cells(
    cells: str,
    rows: list[dict[str, str]],
    untrained: Mapping[str, Trajectory],
    trained: Mapping[str, Row],
) -> None:
    """Put the results of one list of cells in the place of its earlier ones."""
    finals, steps = [], []
    for row in rows:
        readings = list(trained[row["arch"]].trajectory)
        losses = [reading.training_loss for reading in readings]
        finals.append(
            {
                "cells": cells,
                **row,
                "status": trained[row["arch"]].status,
                **{f"untrained.{k}": v for k, v in untrained[row["arch"]].last.values.items()},
                "untrained.cpu_seconds": untrained[row["arch"]].last.seconds,
                **(dict(readings[-1].values) if readings else {}),
                "parameters": readings[-1].parameters if readings else math.nan,
                # Equally many steps lie between readings: sums of their means are sums of losses.
                "tse": sum(losses) if losses else math.nan,
                "tse_e": float(np.mean(losses[-len(losses) // 2 :])) if losses else math.nan,
                "last_loss": losses[-1] if losses else math.nan,
            }
        )
        steps += [
            {"cells": cells, "arch": row["arch"], "step": reading.step}
            | {name: reading.values.get(name, math.nan) for name in RECORDED}
            | {"training_loss": reading.training_loss}
            for reading in readings
        ]
    FOLDER.mkdir(exist_ok=True)
    _replace(RESULTS, cells, finals)
    _replace(TRAJECTORIES, cells, steps)


def read_cells(cells: str, path: Path = RESULTS) -> dict[str, Any]:
    """Columns of the results of one list of cells, none before any: numbers, else text."""
    if not path.exists():
        return {}
    with path.open() as file:
        rows = [row for row in csv.DictReader(file) if row["cells"] == cells]
    return {name: _column([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def default_score(columns: Mapping[str, Any]) -> Floats:
    """What `rank` orders by, recomputed from the results: what failed comes last."""
    good = np.array([one == "ok" for one in columns.get("status", ["ok"] * len(columns["arch"]))])
    panel = [
        name  # as in `rank`, what an untrained network does not define counts for none
        for name in RANKING_PANEL
        if name not in UNTRAINED or not np.isnan(columns[name][good]).any()
    ]
    return np.where(good, panel_score(columns, tuple(panel)), -1.0)


def panel_score(columns: Mapping[str, Any], panel: tuple[str, ...]) -> Floats:
    """Mean rank over readouts, as in `rank`."""
    measures = READOUTS | UNTRAINED
    oriented = [_oriented(columns[name], measures[name].higher_is_better) for name in panel]
    return aggregate(np.stack(oriented, axis=1))


def scores(columns: Mapping[str, Any]) -> dict[str, tuple[str, str, Floats, float]]:
    """Every line of the table: name -> (kind, labels, scores with higher better, CPU seconds)."""
    brief = float(np.nanmedian(columns["cpu_seconds"]))
    lines: dict[str, tuple[str, str, Floats, float]] = {
        DEFAULT: ("score", "none", default_score(columns), brief)
    }
    for name, measure in (READOUTS | UNTRAINED).items():
        values = _oriented(columns[name], measure.higher_is_better)
        kind, seconds = ("untrained", math.nan) if name in UNTRAINED else ("readout", brief)
        lines[name] = (kind, "none", values, seconds)
    after = {"training_loss": "last_loss", "tse": "tse", "tse_e": "tse_e"}
    for name, baseline in BASELINES.items():
        key = f"untrained.{name}" if name in AT_INITIALISATION else after.get(name, name)
        if baseline.aggregate is not None:
            parts = [k for k in columns if k.startswith(f"{key}.")]
            population = [
                {k.removeprefix(f"{key}."): float(columns[k][i]) for k in parts}
                for i in range(len(columns["arch"]))
            ]
            values = np.array(baseline.aggregate(population))
        elif key in columns:
            values = _oriented(columns[key], baseline.higher_is_better)
        else:
            continue
        seconds = brief if name in AFTER_TRAINING else math.nan
        lines[f"{name} "] = ("baseline", baseline.labels, values, seconds)
    return lines


def print_table(cells: str) -> None:
    """One line a score, best first, each metric with its 95 % bootstrap interval."""
    columns = read_cells(cells)
    if not columns:
        raise SystemExit(f"cells: no results of {cells!r} in {RESULTS}; train them first")
    truth = columns["test_accuracy"]
    if len(truth) < MIN_CELLS:
        raise SystemExit(f"cells: at least {MIN_CELLS} are needed for intervals, got {len(truth)}")
    lines = []
    for name, (kind, labels, values, seconds) in scores(columns).items():
        cellsof = [name.strip(), kind, labels]
        for metric in METRICS.values():
            low, high = bootstrap(metric, values, truth)
            cellsof.append(f"{metric(values, truth):.2f} [{low:.2f}, {high:.2f}]")
        cellsof.append("" if math.isnan(seconds) else f"{seconds:.1f}")
        lines.append((METRICS["ρ"](values, truth), cellsof))
    header = ["score", "kind", "labels", *METRICS, "CPU s"]
    ordered = [cells for _, cells in sorted(lines, key=lambda line: -line[0])]
    print(f"{len(truth)} cells of {cells!r}, 95 % bootstrap intervals over cells, seed 0")
    print(plain_table(header, ordered, (0, 1, 2)))
    print(lead(scores(columns), truth))


def lead(lines: Mapping[str, tuple[str, str, Floats, float]], truth: Floats) -> str:
    """What the default panel has more than the baseline with the highest ρ, on the same cells."""
    baselines = {name.strip(): v for name, (kind, _, v, _) in lines.items() if kind == "baseline"}
    best = max(baselines, key=lambda name: METRICS["ρ"](baselines[name], truth))
    pair = np.stack([lines[DEFAULT][2], baselines[best]])
    parts = []
    for name in ("ρ", "τ", "ρ top 20 %"):
        metric = METRICS[name]
        low, high = bootstrap(metric, pair, truth)
        more = metric(pair[0], truth) - metric(pair[1], truth)
        parts.append(f"{name} {more:+.3f} [{low:+.3f}, {high:+.3f}]")
    return f"{DEFAULT} less {best}: {', '.join(parts)}"


def _oriented(values: Floats, higher_is_better: bool) -> Floats:
    return values if higher_is_better else -values


def _column(values: list[str]) -> Any:
    try:
        return np.array([float(value) if value else math.nan for value in values])
    except ValueError:
        return values


def _replace(path: Path, cells: str, rows: list[dict[str, Any]]) -> None:
    """Write rows in the place of those of the same cells; numbers with 6 significant digits."""
    kept: list[dict[str, Any]] = []
    if path.exists():
        with path.open() as file:
            kept = [row for row in csv.DictReader(file) if row["cells"] != cells]
    rows = [{k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    names = list(dict.fromkeys(name for row in (*kept, *rows) for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted([*kept, *rows], key=lambda row: row["cells"], reverse=True))
