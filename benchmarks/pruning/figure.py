"""The curves of the replay: published accuracy of the winner against compute."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pruning.table import RULES, Result

# Okabe & Ito's colours, distinct for colour-blind people, and a dash pattern for each.
LOOKS = {
    "readout": ("#0072B2", "-"),
    "readout, from training": ("#56B4E9", (0, (5, 1))),
    "validation accuracy": ("#D55E00", (0, (6, 2))),
    "validation, eval mode": ("#E69F00", (0, (4, 2, 1, 2))),
    "TSE": ("#009E73", (0, (2, 1.5))),
    "no signal": ("#555555", (0, (1, 1.5))),
}
TITLES = {"halving": "Successive halving", "percentile": "Median and percentile pruning"}
TICKS = (1, 2, 5, 10, 25, 50, 100)


def frontier(results: list[Result], rule: str, signal: str) -> list[tuple[float, float]]:
    """The best mean winner at each amount of compute: (compute, accuracy), both rising."""
    found = [r for r in results if r.signal == signal and r.rule in (rule, "none")]
    points: list[tuple[float, float]] = []
    for result in sorted(found, key=lambda r: (r.compute, -r.winner.mean())):
        accuracy = float(result.winner.mean())
        # The point without pruning is kept, even if it adds nothing.
        if not points or accuracy > points[-1][1] or result.rule == "none":
            points.append((result.compute, accuracy))
    return points


def draw(results: list[Result], within: float, path: Path) -> None:
    """Write an SVG with one panel per rule and one curve per signal, on white in any theme."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("`figure` needs matplotlib; pip install 'prescreen[plot]'") from None
    from matplotlib.figure import Figure

    best = float(next(r for r in results if r.rule == "none").winner.mean())
    # Text remains text, and the same results give the same file.
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "prescreen", "font.size": 9}
    style |= {"font.family": "sans-serif", "axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(8.4, 3.9), facecolor="white", layout="constrained")
        panels = figure.subplots(1, len(RULES), sharex=True, sharey=True)
        for axes, rule in zip(panels, RULES, strict=True):
            axes.axhspan(best - within, best, color="#000000", alpha=0.08, linewidth=0)
            for name in dict.fromkeys(result.signal for result in results):
                colour, dash = LOOKS[name]
                compute, accuracy = np.array(frontier(results, rule, name)).T
                own = name == "readout"
                line = {"linestyle": dash, "linewidth": 2.4 if own else 1.6, "label": name}
                line |= {"marker": "o", "markersize": 2.5, "zorder": 3 if own else 2}
                gid = f"{rule}: {name}".replace(" ", "-")
                axes.plot(100 * compute, accuracy, color=colour, gid=gid, **line)
            axes.set_title(TITLES[rule], fontsize=10)
            axes.set_xscale("log")
            axes.set_xticks(TICKS, [str(tick) for tick in TICKS])
            axes.minorticks_off()
            axes.grid(color="#dddddd", linewidth=0.6)
            axes.set_axisbelow(True)
            axes.set_xlabel("training steps, % of the unpruned search")
        low = min(r.compute for r in results)
        panels[0].set_xlim(100 * low / 1.1, 110)
        panels[0].set_ylabel("accuracy of the winner, %")
        # Curves may leave at the bottom: only the last points matter.
        panels[0].set_ylim(best - 8 * within, best + within / 2)
        note = f"grey: within {within} points of the unpruned winner"
        place = {"transform": panels[-1].transAxes, "horizontalalignment": "right"}
        panels[-1].text(0.98, 0.04, note, fontsize=8, color="#444444", **place)
        handles, labels = panels[0].get_legend_handles_labels()
        place = {"loc": "outside lower center", "ncols": 3, "frameon": False, "handlelength": 3.5}
        figure.legend(handles, labels, **place)
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
