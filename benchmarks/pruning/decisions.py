"""What do the package's own decisions save, in small searches and in large ones?

    python -m benchmarks.pruning.decisions                      # from results, ten minutes

The cells of architectures/nas_bench_201.py were each trained once, to the end of the brief budget, and
read on the way. Searches over some of them, in shuffled order, are replayed one candidate after the
other through ``prescreen.pruning.decide`` with the settings of each row. A candidate that is not pruned
ends with its published accuracy, as if it had been trained in full. What is known of the untrained
network is read at step 0, where readouts of the trained one tie.

steps: as a share of the unpruned search's brief training; readings and full training are not counted.
finish: candidates that are not pruned. regret: published accuracy of the best candidate less that of the
best that finishes, in percentage points, mean over searches with its standard error. lost: searches in
which the best candidate was pruned. All rows replay the same searches. Searches share the recordings,
so other cells would differ by more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from benchmarks.common.options import command
from benchmarks.common.readouts import PANEL, oriented_sign
from benchmarks.pruning.replay import Recordings, load
from benchmarks.pruning.table import BASELINES
from prescreen.panel import Panel
from prescreen.pruning import Guard, Halving, Improvement, Median, Population, Rule, decide
from prescreen.readouts import READOUTS
from prescreen.text import plain_table

VALIDATION = next(iter(BASELINES.values()))  # with batch statistics
UNGUARDED = Guard(min_agreement=None)
ASHA = Guard(n_startup_trials=0, min_agreement=None)


@dataclass(frozen=True)
class Way:
    """A way to prune."""

    rule: Rule
    guard: Guard = field(default_factory=Guard)
    names: tuple[str, ...] = PANEL


def ways(first: int) -> dict[str, Way]:
    """The rows by name, for trajectories whose first reading after step 0 is at a step."""
    head, validation = PANEL[:1], (VALIDATION,)
    return {
        "Improvement()": Way(Improvement()),
        "Improvement(0.1)": Way(Improvement(0.1)),
        "Improvement(0.5)": Way(Improvement(0.5)),
        "Improvement(max_regret=0.2)": Way(Improvement(max_regret=0.2)),
        "Median()": Way(Median()),
        "Median(), unguarded": Way(Median(), UNGUARDED),
        f"{head[0]}, Improvement()": Way(Improvement(), names=head),
        f"{head[0]}, Median()": Way(Median(), names=head),
        "validation, Improvement()": Way(Improvement(), names=validation),
        "validation, Median(), unguarded": Way(Median(), UNGUARDED, validation),
        f"validation, Halving({first}, 2), unguarded": Way(Halving(first, 2), ASHA, validation),
    }


def main() -> None:
    """Print one table for every size of a search."""
    options = {"cells": "report", "sizes": [20, 100], "searches": 30, "seed": 0}
    args = command(__doc__, **options).parse_args()
    recordings = load(args.cells, [*PANEL])
    count = len(recordings.truth)
    for size in args.sizes:
        print(f"{args.searches} searches over {size} of {count} cells of {args.cells!r}")
        rng = np.random.default_rng(args.seed)
        orders = [rng.permutation(count)[:size].tolist() for _ in range(args.searches)]
        rows = []
        for name, way in ways(int(recordings.steps[1])).items():
            rows.append([name, *summary([search(recordings, o, way) for o in orders])])
            print("replayed:", *rows[-1], flush=True)
        print(plain_table(["", "steps %", "finish", "regret", "lost %"], rows))


def search(
    recordings: Recordings, order: list[int], way: Way, population: Population | None = None
) -> tuple[float, int, float]:
    """One search: its share of the steps, how many finish, and the regret.

    Args:
        recordings: of the candidates.
        order: in which they are tried.
        way: to prune.
        population: an empty one that takes in what is read; a new one if None.
    """
    steps, truth, known = recordings.steps.tolist(), recordings.truth, recordings.architectures
    population = Population(panel_of(way.names)) if population is None else population
    spent, finished = 0, []
    for number, cell in enumerate(order):
        for index, step in enumerate(steps):
            values = reading(recordings, way.names, cell, index)
            if not values:
                continue
            population.read(number, step, values, known[cell] if known else f"{cell}")
            if index + 1 < len(steps) and decide(way.rule, way.guard, population, number, step):
                break
        else:
            population.complete(number, (float(truth[cell]),))
            finished.append(cell)
        spent += step
    regret = float(truth[order].max() - truth[finished].max())
    return spent / (len(order) * steps[-1]), len(finished), regret


def panel_of(names: tuple[str, ...]) -> Panel:
    """The panel of recorded columns."""
    untrained = tuple(name in READOUTS and READOUTS[name].of_network for name in names)
    return Panel(names, tuple(oriented_sign(name) > 0 for name in names), untrained)


def reading(
    recordings: Recordings, names: tuple[str, ...], cell: int, index: int
) -> dict[str, float]:
    """A cell's values at a step; empty at step 0 if nothing is known there."""
    values = {name: float(recordings.columns[name][cell, index]) for name in names}
    if index:
        return values
    known = {name: value for name, value in values.items() if not np.isnan(value)}
    return {**dict.fromkeys(names, 0.0), **known} if known else {}


def summary(found: list[tuple[float, int, float]]) -> list[str]:
    """The columns of a row."""
    spent, finished, regret = np.array(found).T
    error = regret.std(ddof=1) / len(regret) ** 0.5
    return [
        f"{100 * spent.mean():.0f}",
        f"{finished.mean():.0f}",
        f"{regret.mean():.2f} ± {error:.2f}",
        f"{100 * (regret > 0).mean():.0f}",
    ]


if __name__ == "__main__":
    main()
