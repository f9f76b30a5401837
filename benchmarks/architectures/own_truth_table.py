"""The results of own_truth.py: how they are kept, and the tables that are printed from them."""

from __future__ import annotations

import csv
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from metrics import METRICS, Floats, bootstrap, spearman
from nas_bench_201_table import FOLDER, MIN_CELLS, read_cells, scores
from scipy.stats import ConstantInputWarning

from prescreen import Trajectory, get_readout
from prescreen.ranking.report import plain_table

__all__ = ["FOLDER", "GRID", "print_table", "write_results"]

POINTS = {
    "sample gradient": "prior/gradient",
    "head gradient": "pseudo/batch_gradient",
    "covariance gradient": "prior/centred_batch_gradient",
    "GradNorm (OOD)": "uniform/ood_gradient",
}
SCALES = ("none", "head", "feature", "both")
GRID = [f"{point}/{scale}" for point in POINTS.values() for scale in SCALES]


def write_results(
    path: Path,
    space: str,
    names: list[str],
    untrained: Mapping[str, Trajectory],
    brief: Mapping[str, Trajectory],
    full: Mapping[str, Trajectory],
) -> None:
    """One line a candidate, numbers with 6 significant digits; what failed has no numbers.

    The columns are those that `nas_bench_201_table.scores` reads.
    """
    rows = []
    for name in names:
        readings, last = list(brief[name]), list(full[name])[-1:]
        losses = [reading.training_loss for reading in readings]
        rows.append(
            {
                "cells": space,
                "arch": name,
                "test_accuracy": 100 * last[0].values["test_accuracy"] if last else math.nan,
                "full.cpu_seconds": last[0].values["cpu_seconds"] if last else math.nan,
                "full.steps": last[0].step if last else 0,
                "brief.steps": readings[-1].step if readings else 0,
                **{f"untrained.{k}": v for k, v in untrained[name].last.values.items()},
                "untrained.cpu_seconds": untrained[name].last.seconds,
                **(dict(readings[-1].values) if readings else {}),
                # Equally many steps lie between readings: sums of their means are sums of losses.
                "tse": sum(losses) if losses else math.nan,
                "tse_e": float(np.mean(losses[-len(losses) // 2 :])) if losses else math.nan,
                "last_loss": losses[-1] if losses else math.nan,
            }
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        columns = list(dict.fromkeys(name for row in rows for name in row))
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()})


def print_table(space: str, folder: Path = FOLDER) -> None:
    """One line a score, best first, with 95 % bootstrap intervals; then what normalization does."""
    path = folder / f"{space}.csv"
    columns = read_cells(space, path)
    if not columns:
        raise SystemExit(f"space: no results of {space!r} in {path}; train them first")
    known = ~np.isnan(columns["test_accuracy"])
    truth = columns["test_accuracy"][known]
    if len(truth) < MIN_CELLS:
        raise SystemExit(f"space: at least {MIN_CELLS} are needed for intervals, got {len(truth)}")
    lines, silent = [], []
    for name, (kind, labels, values, seconds) in scores(columns).items():
        kept = values[known]
        undefined = int(np.isnan(kept).sum())
        if len(np.unique(kept[~np.isnan(kept)])) < 2:
            silent.append(name.strip())
            continue
        figures = [_with_interval(metric, kept, truth) for metric in METRICS.values()]
        cost = "" if math.isnan(seconds) else f"{seconds:.1f}"
        line = [name.strip(), kind, labels, *figures, str(undefined or ""), cost]
        lines.append((spearman(kept, truth), line))
    steps = "{:.0f} steps, brief {:.0f}".format(
        max(columns["full.steps"]), max(columns["brief.steps"])
    )
    print(f"{len(truth)} candidates of {space!r}, truth after {steps}; 95 % bootstrap, seed 0")
    header = ["score", "kind", "labels", *METRICS, "undefined", "CPU s"]
    ordered = [line for _, line in sorted(lines, key=lambda line: -line[0])]
    print(plain_table(header, ordered, (0, 1, 2)))
    if silent:
        print(f"not defined for these candidates: {', '.join(silent)}")
    if space == "timm":
        print("\nρ by normalization")
        print(plain_table(["readout", *SCALES], normalization(columns, known)))


def normalization(columns: Mapping[str, Any], known: Any) -> list[list[str]]:
    """ρ with its interval for each point of the grid, by what is divided out."""
    truth = columns["test_accuracy"][known]
    rows = []
    for title, point in POINTS.items():
        oriented = [get_readout(f"{point}/{s}").score(columns[f"{point}/{s}"]) for s in SCALES]
        rows.append([title, *(_with_interval(spearman, o[known], truth) for o in oriented)])
    return rows


def _with_interval(metric: Any, values: Floats, truth: Floats) -> str:
    with warnings.catch_warnings():
        # Of so few candidates, some samples have only equal ones in their top; they do not count.
        warnings.simplefilter("ignore", ConstantInputWarning)
        value = metric(values, truth)
        if math.isnan(value):
            return "-"
        low, high = bootstrap(metric, values, truth)
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"
