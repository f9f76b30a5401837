"""What the replay found: its results, a summary of them, and the table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from prescreen.ranks import Floats
from prescreen.text import plain_table

# The mean loss may be this many points.
WITHIN = 0.2

RULES = ("halving", "percentile")

# Signals that need held-out labels -> their column; the first with batch statistics.
BASELINES = {
    "validation accuracy": "validation_accuracy_batch",
    "validation, eval mode": "validation_accuracy",
}


@dataclass(frozen=True)
class Result:
    """One setting of a rule with one signal; arrays have one number per search."""

    rule: str
    signal: str
    setting: str
    compute: float
    survivors: float
    winner: Floats
    loss: Floats
    pick: Floats
    pick_loss: Floats


def cheapest(
    results: list[Result], signal: str, rules: tuple[str, ...], reference: Floats | None = None
) -> Result | None:
    """The setting of a signal with the least compute whose mean loss is small enough.

    Not pruning is one of the settings. With a reference, accuracies (S,), the loss is that of picks.
    """

    def loss(r: Result) -> Floats:
        return r.loss if reference is None else reference - r.pick

    own = [r for r in results if r.signal == signal and r.rule in ("none", *rules)]
    within = [r for r in own if loss(r).mean() <= WITHIN]
    return min(within, key=lambda r: r.compute, default=None)


def print_results(results: list[Result]) -> None:
    """One line per rule and signal, and what readouts save compared with validation."""
    names = list(dict.fromkeys(result.signal for result in results))
    shown = [result for result in results if result.rule == "none"]
    for rule, name in product(RULES, names):
        # If no other setting is good enough, the cheapest one of a rule is not to prune.
        found = cheapest(results, name, (rule,))
        shown += [replace(found, rule=rule)] if found else []
    header = ["rule", "signal", "compute %", "finish", "winner", "loss", "lost %", "pick"]
    header += ["pick loss", "setting"]
    print(plain_table(header, [line(result) for result in shown], (0, 1, 9)))
    print(f"\ncompute % at which {WITHIN} points are lacking on average, and its ratio")
    validated = next(r.pick for r in shown if r.signal == next(iter(BASELINES)))
    rows = []
    for label, reference in (("winner", None), ("pick", validated)):
        for rule, which in [*((rule, (rule,)) for rule in RULES), ("either", RULES)]:
            needed = {name: cheapest(results, name, which, reference) for name in names}
            rows.append([label, rule, *_needed(needed)])
    ratios = [f"readout / {name}" for name in BASELINES]
    print(plain_table(["of", "rule", *names, *ratios], rows, (0, 1)))


def _needed(found: dict[str, Result | None]) -> list[str]:
    compute = {name: result.compute for name, result in found.items() if result}
    cells = [f"{100 * compute[name]:.1f}" if name in compute else "–" for name in found]
    for name in BASELINES:
        both = "readout" in compute and name in compute
        cells.append(f"{compute['readout'] / compute[name]:.2f}" if both else "–")
    return cells


def line(result: Result) -> list[str]:
    """A line of the table."""
    r = result
    cells = [r.rule, r.signal, f"{100 * r.compute:.1f}", f"{r.survivors:.1f}"]
    cells += [f"{r.winner.mean():.2f}", interval(r.loss), f"{100 * (r.loss > 0).mean():.0f}"]
    return [*cells, f"{r.pick.mean():.2f}", interval(r.pick_loss), r.setting]


def interval(values: Floats) -> str:
    """Mean and central 95 %."""
    low, high = np.quantile(values, [0.025, 0.975])
    return f"{values.mean():.2f} [{low:.2f}, {high:.2f}]"
