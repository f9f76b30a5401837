"""What a ranking on Ray gains with more workers and nodes, with candidates that wait.

    python -m benchmarks.hosts.ray_scale                        # 1, 2, 4 and 8 workers; 2 and 4 nodes
    python -m benchmarks.hosts.ray_scale --candidates 8 --seconds 0.5 --rounds 1

Each candidate sleeps before it is built, and is then trained for one step: what is measured is how well
Ray and the driver keep workers busy, not arithmetic, of which this machine has only so many cores.
`benchmarks.hosts.ray_ranking` measures real training with as many workers as there are cores. Workers
are spread over simulated nodes of one machine. Work is the time from the first event to the last; the
speed-up is that of one worker over it. Arrangements take turns; medians of rounds.
"""

from __future__ import annotations

import os
import statistics
import time
from functools import partial

import ray
import torch
from ray.cluster_utils import Cluster
from torch import nn

from benchmarks.common.options import command
from prescreen import Training, load_task, rank
from prescreen.ranking.executors import Ray
from prescreen.text import plain_table

ARRANGEMENTS = [(1, 1), (1, 2), (1, 4), (1, 8), (2, 8), (4, 8)]  # nodes, workers


def waiting(seconds: float, width: int) -> nn.Module:
    """A network that takes a while to build."""
    time.sleep(seconds)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def main() -> None:
    """Measure and print the table."""
    args = command(__doc__, candidates=64, seconds=2.0, rounds=5, most=8).parse_args()
    arrangements = [one for one in ARRANGEMENTS if one[1] <= args.most]
    spans: dict[tuple[int, int], list[tuple[float, float]]] = {one: [] for one in arrangements}
    orders = set()
    for _ in range(args.rounds):
        for nodes, workers in arrangements:
            order, span = timed(nodes, workers, args.candidates, args.seconds)
            orders.add(order)
            spans[nodes, workers].append(span)
            print(f"{nodes} nodes, {workers} workers: {span[0]:.1f} s, {span[1]:.1f} s", flush=True)
    print(
        f"{args.candidates} candidates that wait {args.seconds:g} s, {args.rounds} rounds, Ray "
        f"{ray.__version__}, torch {torch.__version__}, {os.cpu_count()} cores, load "
        f"{os.getloadavg()[0]:.1f}; {'all orders are equal' if len(orders) == 1 else 'ORDERS DIFFER'}"
    )
    one = statistics.median(work for _, work in spans[arrangements[0]])
    rows = []
    for (nodes, workers), own in spans.items():
        start, work = (statistics.median(kind) for kind in zip(*own, strict=True))
        gain = one / work
        cells = [f"{start:.1f}", f"{work:.1f}", f"{gain:.2f}", f"{100 * gain / workers:.0f} %"]
        rows.append([f"{nodes}", f"{workers}", *cells])
    print(plain_table(["nodes", "workers", "start s", "work s", "speed-up", "of ideal"], rows))


def timed(
    nodes: int, workers: int, candidates: int, seconds: float
) -> tuple[tuple[str, ...], tuple[float, float]]:
    """The order of a ranking on a new cluster, and the seconds before and after its first event."""
    resources = {"num_cpus": workers // nodes, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=resources)
    try:
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=workers // nodes)
        moments = [time.perf_counter()]
        ranking = rank(
            {f"width {n}": partial(waiting, seconds, n + 2) for n in range(candidates)},
            load_task("digits"),
            training=Training(steps=1, batch_size=16),
            readings=1,
            progress=lambda _: moments.append(time.perf_counter()),
            on=Ray(cluster.address, workers=workers),
        )
    finally:
        cluster.shutdown()
    names = tuple(row.name for row in ranking)
    return names, (moments[1] - moments[0], moments[-1] - moments[1])


if __name__ == "__main__":
    main()
