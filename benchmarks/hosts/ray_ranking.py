"""How much faster a ranking becomes with workers on a Ray cluster, beside processes without Ray.

    python benchmarks/ray_ranking.py                                  # 40 candidates, 5 rounds
    python benchmarks/ray_ranking.py --candidates 6 --steps 10 --rounds 1

NAS-Bench-201 cells on handwritten digits, seed 0, one CPU thread a candidate. Every round ranks the
same candidates in every arrangement, in turn; the orders of all must be equal. Start-up (connecting,
a new cluster of this machine, processes that import torch) is all before the first candidate begins,
and the end all after the last event; what lies between is the work. The share of the ideal is the
median work with one worker, divided by that with several and by their number.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

import torch

from prescreen import Training, load_task, rank
from prescreen.ranking.progress import Progress
from prescreen.ranking.report import Ranking, plain_table


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--candidates", type=int, default=40, help="of NAS-Bench-201 [40]")
    parser.add_argument("--steps", type=int, default=100, help="optimizer steps of each [100]")
    parser.add_argument("--workers", type=int, default=2, help="beside one [2]")
    parser.add_argument("--rounds", type=int, default=5, help="of all arrangements [5]")
    args = parser.parse_args()
    many = args.workers
    arrangements: dict[str, dict[str, Any]] = {
        "Ray, 1 worker": {"ray": "local", "workers": 1},
        f"Ray, {many} workers": {"ray": "local", "workers": many},
        "no Ray, 1 process": {"workers": 1},
        f"no Ray, {many} processes": {"workers": many},
    }
    seconds: dict[str, list[tuple[float, float, float]]] = {name: [] for name in arrangements}
    orders = set()
    for _ in range(args.rounds):
        for name, arrangement in arrangements.items():
            ranking, spans = timed(args.candidates, args.steps, arrangement)
            seconds[name].append(spans)
            orders.add(tuple(row.name for row in ranking))
            print(f"{name}: " + ", ".join(f"{span:.1f} s" for span in spans), flush=True)
    print(
        f"{args.candidates} candidates, {args.steps} steps, {args.rounds} rounds, torch "
        f"{torch.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"{'all orders are equal' if len(orders) == 1 else 'ORDERS DIFFER'}"
    )
    print(
        plain_table(["arrangement", "start s", "work s", "end s", "of ideal"], rows(seconds, many))
    )


def timed(
    candidates: int, steps: int, arrangement: dict[str, Any]
) -> tuple[Ranking, tuple[float, float, float]]:
    """A ranking, and its seconds before the first event, until the last, and after it."""
    moments = [time.perf_counter()]

    def note(progress: Progress) -> None:
        moments.append(time.perf_counter())

    ranking = rank(
        "nas_bench_201",
        load_task("digits"),
        samples=candidates,
        training=Training(steps=steps),
        progress=note,
        **arrangement,
    )
    begin, first, last, end = moments[0], moments[1], moments[-1], time.perf_counter()
    return ranking, (first - begin, last - first, end - last)


def rows(seconds: dict[str, list[tuple[float, float, float]]], many: int) -> list[list[str]]:
    """One row an arrangement: medians, and the work's share of the ideal."""
    work = {name: statistics.median(spans[1] for spans in of) for name, of in seconds.items()}
    table = []
    for one, several in zip(list(seconds)[::2], list(seconds)[1::2], strict=True):
        shares = {one: 1.0, several: work[one] / work[several] / many}
        for name, share in shares.items():
            medians = [statistics.median(kind) for kind in zip(*seconds[name], strict=True)]
            table.append([name, *(f"{median:.1f}" for median in medians), f"{100 * share:.0f} %"])
    return table


if __name__ == "__main__":
    main()
