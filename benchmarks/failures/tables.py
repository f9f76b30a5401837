"""The tables: how well readouts rank, and which shifts of a probe are noticed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from benchmarks.common.metrics import bootstrap, spearman, with_interval
from benchmarks.common.results import Row, column
from benchmarks.failures.corrections import GAPS, READ, SHIFTS
from benchmarks.failures.measure import TRUTHS
from benchmarks.failures.plans import LEVELS
from prescreen import DEFAULT_PANEL
from prescreen.comparison import compare
from prescreen.ranks import Floats
from prescreen.tasks.images.probe_batch import SHIFT_LIMIT
from prescreen.text import plain_table

# A readout is fooled by a factor if its ρ lies below this although the factor matters: it moves
# the truth by more than twice what seeds move it.
FOOLED_BELOW = 0.3
SEEDS_RANGES = 2.0

REFERENCE = "clean"
CLEAN = ("clean 2", "clean 3")  # a shift is noticed if it exceeds that of other clean probes
QUANTILE = 0.95

TRUTH = TRUTHS[1]

PANEL = "default panel"


def recipe_table(rows: list[Row]) -> str:
    """ρ within the candidates of one factor, and over all."""
    truth = column(rows, TRUTH)
    chosen = {f: [i for i, r in enumerate(rows) if r["factor"] == f] for f in ("seed", *LEVELS)}
    ranges = {factor: float(np.ptp(truth[chosen[factor]])) for factor in chosen if chosen[factor]}
    base = [i for i, row in enumerate(rows) if row["run"] == "base"]
    noise = ranges.get("seed", math.nan)
    lines = []
    for name in recorded(rows):
        values = scores(rows, name)
        of = {f: _rho(values, truth, [*base, *chosen[f]]) for f in LEVELS}
        fooled = [
            factor
            for factor, rho in of.items()
            if ranges.get(factor, 0) > SEEDS_RANGES * noise and rho < FOOLED_BELOW
        ]
        # What is the same for all, as a measure of the untrained network, is silent and not fooled.
        marks = ["-" if math.isnan(rho) else f"{rho:.2f}" for rho in of.values()]
        lines.append([name, *marks, with_interval(spearman, values, truth), ", ".join(fooled)])
    head = [f"recipe: {len(rows)} candidates; the truth's range:"]
    head += [f"{factor} {value:.3f}," for factor, value in ranges.items()]
    table = plain_table(["readout", *LEVELS, "all", "fooled by"], lines, (0, len(LEVELS) + 2))
    return _titled(" ".join(head).rstrip(","), table)


def overfit_table(rows: list[Row]) -> str:
    """ρ at every step that was read, with the truth at the last one; mean gaps below."""
    steps = sorted({row["step"] for row in rows})
    at = {step: [row for row in rows if row["step"] == step] for step in steps}
    truth = column(at[steps[-1]], TRUTH)
    lines = [
        [name, *(with_interval(spearman, scores(at[step], name), truth) for step in steps)]
        for name in (*recorded(rows), *GAPS)
    ]
    means = [
        f"mean {gap}: " + ", ".join(f"{column(at[s], gap).mean():.3f} at {s:.0f}" for s in steps)
        for gap in GAPS
    ]
    title = f"overfit: {len(truth)} candidates, read at steps of one run, truth at its end"
    table = plain_table(["readout", *(f"step {step:.0f}" for step in steps)], lines)
    return _titled("\n".join([title, *means]), table)


def imbalance_table(rows: list[Row]) -> str:
    """ρ of readouts after the brief run; test images have about equal classes, unlike training."""
    truths = [column(rows, TRUTH), column(rows, "published")]
    lines = [
        [name, *(with_interval(spearman, scores(rows, name), truth) for truth in truths)]
        for name in recorded(rows)
    ]
    table = plain_table(["readout", "test accuracy", "published, of equal classes"], lines)
    return _titled(f"imbalance: {len(rows)} cells on a long tail of classes", table)


def shifted_table(rows: list[Row]) -> str:
    """ρ of published accuracy by probe, and how often each shift of the probe is noticed."""
    names = list(dict.fromkeys(row["run"] for row in rows))
    rows = [row for row in rows if "probe" in row]  # the others hold truths, which need no probe
    probes = list(dict.fromkeys(row["probe"] for row in rows))
    by = {(row["run"], row["probe"]): row for row in rows}
    at = {probe: [by[name, probe] for name in names] for probe in probes}
    truth = column(at[REFERENCE], "published")
    lines = []
    for name in recorded(rows):
        values = {probe: scores(at[probe], name) for probe in probes}
        cells = [with_interval(spearman, values.pop(REFERENCE), truth)]
        reference = scores(at[REFERENCE], name)
        for other in values.values():
            cells.append(f"{spearman(other, truth):.2f}{_mark(other, reference, truth)}")
        lines.append([name, *cells])
    others = [probe for probe in probes if probe != REFERENCE]
    title = (
        f"shifted: {len(names)} cells, ρ of published accuracy; - below and + above the clean "
        "probe's ρ, by a paired bootstrap's 95 %"
    )
    table = plain_table(["readout", REFERENCE, *others], lines)
    return _titled(title, table) + "\n\n" + _noticed(at)


def recorded(rows: list[Row]) -> list[str]:
    """The lines of a table: readouts newer than the results have none."""
    read = [name for name in READ if any(name in row for row in rows)]
    return [PANEL, *read] if set(DEFAULT_PANEL) <= set(read) else read


def scores(rows: list[Row], name: str) -> Floats:
    """A readout's values in all rows, or what `rank` orders by; higher is better."""
    if name == PANEL:
        values = np.stack([scores(rows, one) for one in DEFAULT_PANEL], axis=1)
        return compare(values, [READ[one].of_network for one in DEFAULT_PANEL]).scores
    return (READ | GAPS)[name].score(1.0) * column(rows, name)


def _rho(values: Floats, truth: Floats, chosen: list[int]) -> float:
    return spearman(values[chosen], truth[chosen]) if len(chosen) > 1 else math.nan


def _mark(other: Floats, reference: Floats, truth: Floats) -> str:
    low, high = bootstrap(spearman, np.stack([other, reference]), truth)
    return "-" if high < 0 else "+" if low > 0 else " "


def _noticed(at: dict[str, list[Row]]) -> str:
    lines = []
    for name in (f"shift.{shift}" for shift in SHIFTS):
        clean = np.concatenate([column(at[probe], name) for probe in CLEAN])
        limit = np.quantile(clean, QUANTILE)
        shares = [f"{(column(rows, name) > limit).mean():.2f}" for rows in at.values()]
        lines.append([name, f"{limit:.3g}", *shares])
    values = [column(rows, "shift.input") for rows in at.values()]
    warned = [f"{(v > SHIFT_LIMIT).mean():.2f}" for v in values]
    lines.append(["the package's warning", f"{SHIFT_LIMIT:.3g}", *warned])
    title = f"Share of cells that notice: above the {QUANTILE:.0%} quantile of {', '.join(CLEAN)}"
    return _titled(title, plain_table(["statistic", "limit", *at], lines))


def _titled(title: str, table: str) -> str:
    return f"{title}\n\n{table}"


TABLES: dict[str, Callable[[list[Row]], str]] = {
    "recipe": recipe_table,
    "overfit": overfit_table,
    "imbalance": imbalance_table,
    "shifted": shifted_table,
}
