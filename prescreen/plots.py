"""Plots: figures of a ranking or a study with matplotlib, safe for colour-blind readers.

Each function draws on ``ax``, or on a new figure, and returns the axes. A source is a ``Ranking`` or an
Optuna ``Study``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from prescreen.checks import require, require_at_least
from prescreen.report import orders
from prescreen.report.collect import collect
from prescreen.report.data import PRUNED, UNITS, Entry, Findings, sign_of
from prescreen.text import printable, shortened

try:
    from matplotlib.axes import Axes
except ImportError as error:
    raise ImportError(
        "prescreen.plots needs the 'plot' extra: pip install 'prescreen[plot]'"
    ) from error

# Okabe & Ito's colours; line styles and markers tell the same.
BLUE, ORANGE, GREEN = "#0072B2", "#E69F00", "#009E73"
RED, PURPLE, SKY = "#D55E00", "#CC79A7", "#56B4E9"
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY)
DASHES = ("-", "--", "-.", ":")
MARKERS = "osD^vP"
GREY = "#777777"
_STEPS = "optimizer steps"
_LONGEST = 32


def plot_trajectories(
    source: Any, readout: str | None = None, *, top: int = 6, ax: Axes | None = None
) -> Axes:
    """A readout over training: a line a candidate, the best by name, pruned ones end with a cross.

    Args:
        source: a ranking or a study.
        readout: which; by default the first of the panel.
        top: how many are named; the others are grey.
        ax: where to draw.

    Raises:
        ValueError: an argument is not allowed.
    """
    findings, axes = collect(source), _axes(ax)
    require_at_least("top", top, 0)
    name = _readout(findings, readout)
    named = findings.ranked[:top]
    for one in reversed(findings.entries):
        steps, values = one.trajectory.series(name)
        if not steps:
            continue
        place = next((at for at, best in enumerate(named) if best is one), None)
        axes.plot(steps, values, **_look(place, one), zorder=2 if place is None else 3)
        if one.status == PRUNED:
            axes.plot(steps[-1:], values[-1:], "x", color=RED, zorder=4, label="_pruned")
    axes.set(xlabel=_STEPS, ylabel=f"{_text(name)} ({_direction(name)})")
    _legend(axes, any(one.status == PRUNED for one in findings.read))
    return axes


def plot_ranking(source: Any, *, top: int = 30, ax: Axes | None = None) -> Axes:
    """Scores with 95 % intervals, the best above; those that cannot be told from it are hollow.

    Args:
        source: a ranking or a study.
        top: how many candidates.
        ax: where to draw.

    Raises:
        ValueError: an argument is not allowed, or no candidate has a place.
    """
    findings, axes = collect(source), _axes(ax)
    require_at_least("top", top, 1)
    shown = _ranked(findings)[:top]
    for tied, label in ((False, "the first, or told from it"), (True, "not told from the first")):
        own = [(at, one) for at, one in enumerate(shown) if one.tied is tied]
        if not own:
            continue
        places, scores = [at for at, _ in own], np.array([one.score for _, one in own])
        # Where an interval is unknown, no bar is drawn.
        bars = np.array([[one.score - one.low, one.high - one.score] for _, one in own]).T
        face, colour = ("white", ORANGE) if tied else (BLUE, BLUE)
        axes.errorbar(
            scores,
            places,
            xerr=np.clip(bars, 0, None),
            fmt="s" if tied else "o",
            color=colour,
            markerfacecolor=face,
            label=label,
        )
    axes.set_yticks(range(len(shown)), [f"{one.rank}  {_text(one.name)}" for one in shown])
    axes.invert_yaxis()
    axes.set(xlabel=f"score ({findings.score})", xlim=(-0.02, 1.02))
    if any(one.tied for one in shown):
        axes.legend(frameon=False)
    return axes


def plot_agreement(source: Any, *, ax: Axes | None = None) -> Axes:
    """Spearman's ρ between the orders of measures, the score, parameters and final results.

    Args:
        source: a ranking or a study.
        ax: where to draw.

    Raises:
        ValueError: fewer than two measures order the candidates.
    """
    findings, axes = collect(source), _axes(ax)
    names, table = orders.agreement_table(findings)
    require("source", "of at least two measures that differ", len(names), len(names) > 1)
    rhos = np.array([[one.rho for one in row] for row in table])
    axes.imshow(rhos, vmin=-1, vmax=1, cmap="cividis")
    for (row, column), rho in np.ndenumerate(rhos):
        dark = rho < 0
        axes.text(column, row, f"{rho:.2f}", ha="center", va="center", color="w" if dark else "k")
    labels = [_text(name) for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=30, ha="right")
    axes.set_yticks(range(len(names)), labels)
    axes.set_title(f"Spearman's ρ, {len(findings.ranked)} candidates")
    return axes


def plot_pareto(source: Any, cost: str = "parameters", *, ax: Axes | None = None) -> Axes:
    """Score against capacity; a line joins the candidates that none beats at the same cost.

    Args:
        source: a ranking or a study.
        cost: ``"parameters"``, ``"flops"`` or ``"latency"``.
        ax: where to draw.

    Raises:
        ValueError: the cost is not known for any candidate.
    """
    findings, axes = collect(source), _axes(ax)
    entries = findings.ranked
    known = sorted({name for one in entries for name in one.costs})
    require("cost", f"one of {', '.join(known) or 'none that are known'}", cost, cost in known)
    spent, scores = orders.costs(entries, cost), np.array([one.score for one in entries])
    on = orders.front(spent, scores)
    rest = [at for at in range(len(entries)) if at not in {*on}]
    axes.plot(spent[rest], scores[rest], "o", color=GREY, alpha=0.7, label="beaten at its cost")
    axes.plot(spent[on], scores[on], "D", color=RED, label="Pareto front")
    axes.step(spent[on], scores[on], where="post", color=RED, linewidth=1)
    for at in on:
        axes.annotate(_text(entries[at].name, 20), (spent[at], scores[at]), fontsize="small")
    unit = f" ({UNITS[cost]})" if UNITS.get(cost) else ""
    axes.set(xscale="log", xlabel=f"{cost}{unit}", ylabel=f"score ({findings.score})")
    axes.legend(frameon=False)
    return axes


def plot_pruning(source: Any, *, ax: Axes | None = None) -> Axes:
    """From which step on an order can be trusted: ρ of the order at each step with the final order.

    The final order is that of final results or, without any, of the scores at the end. The band is the
    95 % interval; crosses mark the steps at which candidates were pruned, with their number.

    Args:
        source: a ranking or a study.
        ax: where to draw.

    Raises:
        ValueError: fewer than four candidates were read at the same steps and ran to their end.
    """
    findings, axes = collect(source), _axes(ax)
    found = orders.along(findings)
    require("source", "of at least 4 candidates read at equal steps", len(found), bool(found))
    steps = [step for step, _ in found]
    low, high = ([getattr(one, end) for _, one in found] for end in ("low", "high"))
    axes.fill_between(steps, low, high, color=SKY, alpha=0.3, label="95 % interval")
    axes.plot(steps, [one.rho for _, one in found], "o-", color=BLUE, label="Spearman's ρ")
    axes.axhline(0, color=GREY, linewidth=0.8)
    pruned: dict[int, int] = {}
    for one in findings.entries:
        if one.status == PRUNED and len(one.trajectory):
            pruned[one.step] = pruned.get(one.step, 0) + 1
    if pruned:
        axes.plot([*pruned], [-1.0] * len(pruned), "x", color=RED, label="pruned")
    for step, count in pruned.items():
        axes.annotate(str(count), (step, -0.97), ha="center", fontsize="small", color=RED)
    axes.set(xlabel=_STEPS, ylabel="ρ with the order at the end", ylim=(-1.08, 1.05))
    axes.legend(frameon=False)
    return axes


def _axes(ax: Axes | None) -> Axes:
    if ax is not None:
        return ax
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]


def _readout(findings: Findings, readout: str | None) -> str:
    known = [*dict.fromkeys(name for one in findings.read for name in one.trajectory.last.values)]
    name = next(iter(findings.measures), "") if readout is None else readout
    require("readout", f"one of {', '.join(known) or 'none that were read'}", name, name in known)
    return name


def _ranked(findings: Findings) -> Sequence[Entry]:
    require("source", "of a candidate with a place", len(findings.entries), bool(findings.ranked))
    return findings.ranked


def _look(place: int | None, one: Entry) -> dict[str, Any]:
    """Colour, dash and marker of a line; the others are grey, and pruned ones dotted."""
    if place is None:
        dotted = ":" if one.status == PRUNED else "-"
        return {"color": GREY, "alpha": 0.5, "linewidth": 0.8, "linestyle": dotted}
    return {
        "color": COLOURS[place % len(COLOURS)],
        "linestyle": DASHES[place // len(COLOURS) % len(DASHES)],
        "marker": MARKERS[place % len(MARKERS)],
        "markersize": 4,
        "label": f"{one.rank}  {_text(one.name)}",
    }


def _legend(axes: Axes, pruned: bool) -> None:
    handles, labels = axes.get_legend_handles_labels()
    handles, labels = handles[::-1], labels[::-1]  # the best first
    if pruned:
        handles += axes.plot([], [], "x", color=RED)
        labels += ["pruned"]
    if handles:
        axes.legend(handles, labels, frameon=False, fontsize="small")


def _direction(name: str) -> str:
    return "higher is better" if sign_of(name) > 0 else "lower is better"


def _text(name: str, longest: int = _LONGEST) -> str:
    """A name as text: no formula, no markup, one line."""
    return shortened(printable(name), longest).replace("$", r"\$")
