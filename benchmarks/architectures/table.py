"""The tables of architectures: how well scores order them, from the committed results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.baselines import AFTER_TRAINING, AT_INITIALISATION, BASELINES
from benchmarks.common.metrics import METRICS, bootstrap, spearman, with_interval
from benchmarks.common.readouts import MEASURED, NETWORK, PANEL, oriented_sign
from benchmarks.common.results import Row, column
from prescreen.ranks import Floats, aggregate
from prescreen.readouts import get_readout
from prescreen.text import plain_table

RESULTS = Path(__file__).parent / "results"

# Fewer architectures say too little for intervals.
MIN_RUNS = 20
DEFAULT = "prescreen (first panel)"

# Baselines whose column has another name.
COLUMNS = {"training_loss": "last_loss"}

POINTS = {
    "sample gradient": "prior/gradient",
    "head gradient": "pseudo/batch_gradient",
    "covariance gradient": "prior/centred_batch_gradient",
    "GradNorm (OOD)": "uniform/ood_gradient",
}
SCALES = ("none", "head", "feature", "both")
GRID = [f"{point}/{scale}" for point in POINTS.values() for scale in SCALES]


class Score(NamedTuple):
    """A line of the table: whose labels it uses, one value per run (higher is better), CPU seconds."""

    labels: str
    values: Floats
    seconds: float


def scores(rows: Sequence[Row]) -> dict[tuple[str, str], Score]:
    """All scores by name and kind."""
    brief = float(np.nanmedian(column(rows, "cpu_seconds")))
    found = {(DEFAULT, "score"): Score("none", default_score(rows), brief)}
    measured = set().union(*rows)
    for name in (name for name in MEASURED if name in measured):
        kind, seconds = ("untrained", math.nan) if name in NETWORK else ("readout", brief)
        found[name, kind] = Score("none", oriented_sign(name) * column(rows, name), seconds)
    for name, baseline in BASELINES.items():
        if (values := baseline_values(rows, name)) is None:
            continue
        seconds = brief if name in AFTER_TRAINING else math.nan
        found[name, "baseline"] = Score(baseline.labels, values, seconds)
    return found


def baseline_values(rows: Sequence[Row], name: str) -> Floats | None:
    """A baseline of all runs, higher is better, shape (runs,); None if it was not measured."""
    baseline = BASELINES[name]
    key = f"untrained.{name}" if name in AT_INITIALISATION else COLUMNS.get(name, name)
    wanted = [f"{key}.{part}" for part in baseline.parts] if baseline.aggregate else [key]
    if not {*wanted} & set().union(*rows):
        return None
    if baseline.aggregate is None:
        return (1.0 if baseline.higher_is_better else -1.0) * column(rows, key)
    parts = [{k: row.get(f"{key}.{k}", math.nan) for k in baseline.parts} for row in rows]
    return np.array(baseline.aggregate(parts), float)


def default_score(rows: Sequence[Row]) -> Floats:
    """What `rank` orders by, recomputed from the results: failed runs come last."""
    good = np.array(["failure" not in row for row in rows])
    oriented = {name: oriented_sign(name) * column(rows, name) for name in PANEL}
    # As in `rank`, a measure that is undefined for any of the untrained networks is not used.
    kept = [v for n, v in oriented.items() if n not in NETWORK or not np.isnan(v[good]).any()]
    return np.where(good, aggregate(np.stack(kept, axis=1)), -1.0)


def score_table(rows: Sequence[Row], undefined: bool = False) -> tuple[str, list[str]]:
    """One line per score, best first, with 95 % bootstrap intervals; and names of uninformative scores.

    Args:
        rows: of all runs; those without a truth are dropped once scores are computed.
        undefined: whether to add a column with the number of runs for which a score is undefined.
    """
    known = ~np.isnan(column(rows, "test_accuracy"))
    truth = column(rows, "test_accuracy")[known]
    if len(truth) < MIN_RUNS:
        raise SystemExit(f"intervals need at least {MIN_RUNS} runs with a truth, got {len(truth)}")
    lines, silent = [], []
    for (name, kind), score in scores(rows).items():
        values = score.values[known]
        missing = int(np.isnan(values).sum())
        if len(np.unique(values[~np.isnan(values)])) < 2:
            silent.append(name)
            continue
        line = [name, kind, score.labels]
        line += [with_interval(metric, values, truth) for metric in METRICS.values()]
        line += [str(missing or "")] if undefined else []
        line.append("" if math.isnan(score.seconds) else f"{score.seconds:.1f}")
        lines.append((spearman(values, truth), line))
    header = ["score", "kind", "labels", *METRICS, *(["undefined"] if undefined else []), "CPU s"]
    ordered = [line for _, line in sorted(lines, key=lambda pair: -pair[0])]
    return plain_table(header, ordered, (0, 1, 2)), silent


def lead(rows: Sequence[Row]) -> str:
    """The lead of the first default panel over the baseline with the highest ρ, on the same runs."""
    truth, found = column(rows, "test_accuracy"), scores(rows)
    baselines = {name: s.values for (name, kind), s in found.items() if kind == "baseline"}
    best = max(baselines, key=lambda name: spearman(baselines[name], truth))
    pair = np.stack([found[DEFAULT, "score"].values, baselines[best]])
    parts = []
    for name in ("ρ", "τ", "ρ top 20 %"):
        metric = METRICS[name]
        low, high = bootstrap(metric, pair, truth)
        more = metric(pair[0], truth) - metric(pair[1], truth)
        parts.append(f"{name} {more:+.3f} [{low:+.3f}, {high:+.3f}]")
    return f"{DEFAULT} less {best}: {', '.join(parts)}"


def normalization_table(rows: Sequence[Row]) -> str:
    """ρ with its interval for each point of the grid, by normalization."""
    known = ~np.isnan(column(rows, "test_accuracy"))
    truth = column(rows, "test_accuracy")[known]
    lines = []
    for title, point in POINTS.items():
        signs = [get_readout(f"{point}/{scale}").score(1.0) for scale in SCALES]
        columns = [column(rows, f"{point}/{scale}")[known] for scale in SCALES]
        oriented = (sign * values for sign, values in zip(signs, columns, strict=True))
        lines.append([title, *(with_interval(spearman, values, truth) for values in oriented)])
    return plain_table(["readout", *SCALES], lines)
