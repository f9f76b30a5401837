"""Twice the candidates in the same time? Rankings with halving beside rankings of half as many without.

    python -m benchmarks.halving.live run --data DATA --truths TRUTHS     # minutes a search
    python -m benchmarks.halving.live table

Every search draws --count times two cells of NAS-Bench-201 that no choice of this package has looked
at. `rank` trains all of them on CIFAR-10 with halving, and the first --count without; which comes first
changes from search to search. One thread in this process, no workers: seconds are CPU seconds of the
whole call, with building, the measures of untrained networks and readings. regret: published accuracy
of the best of all the cells less that of the first one, in points. Both rankings of a search are one
row of OUT/live.csv; those that are there are not measured again.
"""

from __future__ import annotations

import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.architectures.spaces import SGD, SPACES, published_rows
from benchmarks.common.options import command, need
from benchmarks.common.results import Row, column, read, write
from prescreen import Candidate, Task, load_task, rank
from prescreen.text import plain_table

SPACE = "nas_bench_201"
# Beyond the cells for tuning and those that were reported on.
UNSEEN = 700
PROBE = 256


def main() -> None:
    """Run the searches that are missing, or print the table."""
    options = {"data": Path, "truths": Path, "searches": 6, "count": 8, "steps": 200}
    out = Path("prescreen-runs/halving")
    args = command(__doc__, do=("run", "table"), **options, out=out).parse_args()
    path = args.out / "live.csv"
    if args.do == "run":
        need(args, "data", "truths")
        run(args, path)
    rows = read(path)
    print(table(rows, args.count))


def run(args: Namespace, path: Path) -> None:
    """Do the searches that are not in the file."""
    torch.set_num_threads(1)
    rows = read(path) if path.exists() else []
    space = SPACES[SPACE]
    candidates = space.candidates(args.truths)
    truth = [float(row["test_accuracy"]) for row in published_rows(args.truths, SPACE)]
    task = load_task(args.data, probe_size=PROBE, image_size=space.image_size)
    for search in range(len(rows), args.searches):
        first = UNSEEN + search * 2 * args.count
        drawn = candidates[first : first + 2 * args.count]
        known = {one.name: truth[int(one.name)] for one in drawn}
        best, row = max(known.values()), {"run": f"{search}"}
        for halving in (True, False) if search % 2 else (False, True):
            chosen = drawn if halving else drawn[: args.count]
            row |= _ranked(task, chosen, known, best, args.steps, halving)
        rows.append(row)
        write(path, rows)


def _ranked(
    task: Task,
    drawn: list[Candidate],
    known: dict[str, float],
    best: float,
    steps: int,
    halving: bool,
) -> Row:
    start = time.process_time()
    ranking = rank(drawn, task, training=replace(SGD, steps=steps), halving=halving)
    seconds = time.process_time() - start
    name = "halved" if halving else "whole"
    taken = sum(row.step for row in ranking) / steps
    regret = best - known[ranking.best.name]
    return {f"{name}_seconds": seconds, f"{name}_regret": regret, f"{name}_budgets": taken}


def table(rows: list[Row], count: int) -> str:
    """Both ways, and the ratio of their seconds in each search."""
    lines = []
    for name, label in (("whole", f"{count}, all to the end"), ("halved", f"{2 * count}, halving")):
        seconds, regret, budgets = (
            column(rows, f"{name}_{what}") for what in ("seconds", "regret", "budgets")
        )
        lines.append(
            [label, f"{np.median(seconds):.1f}", f"{budgets.mean():.1f}", f"{regret.mean():.2f}"]
        )
    ratios = column(rows, "halved_seconds") / column(rows, "whole_seconds")
    better = column(rows, "halved_regret") - column(rows, "whole_regret")
    text = plain_table(["candidates", "CPU seconds", "budgets", "mean regret"], lines)
    return (
        f"{len(rows)} searches\n{text}\n"
        f"seconds with halving over those without: median {np.median(ratios):.2f}, from "
        f"{ratios.min():.2f} to {ratios.max():.2f}\n"
        f"regret with halving is lower in {int((better < 0).sum())}, equal in "
        f"{int((better == 0).sum())} and higher in {int((better > 0).sum())} searches"
    )


if __name__ == "__main__":
    main()
