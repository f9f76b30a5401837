"""How much faster a ranking is with workers on a Ray cluster, compared with processes without Ray.

    python -m benchmarks.hosts.ray_ranking                                  # 40 candidates, 5 rounds
    python -m benchmarks.hosts.ray_ranking --candidates 6 --steps 10 --rounds 1

NAS-Bench-201 cells on handwritten digits, seed 0, one CPU thread per candidate. Every round ranks the
same candidates in every arrangement, in turn; all orders must be equal. Start-up (connecting, a new
cluster on this machine, processes that import torch) is the time before the first candidate begins,
the end is the time after the last event, and the work lies between. The share of the ideal is the
median work with one worker, divided by that with several and by their number.
"""

from __future__ import annotations

import os
import statistics
import time

import torch

from benchmarks.common.options import command
from prescreen import Processes, Ranking, Training, load_task, rank
from prescreen.ranking.executors import Executor, Ray
from prescreen.text import plain_table

# Seconds before the first event, until the last, and after it.
Spans = tuple[float, float, float]


def main() -> None:
    """Measure and print the table."""
    args = command(__doc__, candidates=40, steps=100, workers=2, rounds=5).parse_args()
    many = args.workers
    executors: dict[str, Executor] = {
        "Ray, 1 worker": Ray("local", workers=1),
        f"Ray, {many} workers": Ray("local", workers=many),
        "no Ray, 1 process": Processes(1),
        f"no Ray, {many} processes": Processes(many),
    }
    seconds: dict[str, list[Spans]] = {name: [] for name in executors}
    orders = set()
    for _ in range(args.rounds):
        for name, executor in executors.items():
            ranking, spans = timed(args.candidates, args.steps, executor)
            seconds[name].append(spans)
            orders.add(tuple(row.name for row in ranking))
            print(f"{name}: " + ", ".join(f"{span:.1f} s" for span in spans), flush=True)
    print(
        f"{args.candidates} candidates, {args.steps} steps, {args.rounds} rounds, torch "
        f"{torch.__version__}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; "
        f"{'all orders are equal' if len(orders) == 1 else 'ORDERS DIFFER'}"
    )
    header = ["arrangement", "start s", "work s", "end s", "of ideal"]
    print(plain_table(header, rows(seconds, many)))


def timed(candidates: int, steps: int, executor: Executor) -> tuple[Ranking, Spans]:
    """A ranking, and what it took."""
    moments = [time.perf_counter()]
    ranking = rank(
        "nas_bench_201",
        load_task("digits"),
        samples=candidates,
        training=Training(steps=steps),
        progress=lambda _: moments.append(time.perf_counter()),
        on=executor,
    )
    begin, first, last, end = moments[0], moments[1], moments[-1], time.perf_counter()
    return ranking, (first - begin, last - first, end - last)


def rows(seconds: dict[str, list[Spans]], many: int) -> list[list[str]]:
    """One row per arrangement: medians, and the work's share of the ideal."""
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
