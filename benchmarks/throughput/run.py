"""Candidates a minute and images a second, beside an ordinary PyTorch loop and the machine's limit.

    python -m benchmarks.throughput.run measure     # half an hour on two quiet cores
    python -m benchmarks.throughput.run table
    python -m benchmarks.throughput.run profile     # where the rest goes, ten minutes
    python -m benchmarks.throughput.run measure --families DARTS --rounds 1 --steps 8  # a trial

In every round each family's next candidate is trained by all in turn. "Ours" are worker processes of
one thread, one for each core, that screen whole candidates as `rank` does: build, measures of the
untrained network, 100 steps of 128 images, four readings. Starting the processes is not in it. The
ordinary loop trains the same candidate in one process with all cores, and does not read it: images
in memory, transformed one by one by torchvision, a DataLoader, fp32, the default layout, the same
optimizer, schedule and clipping. It is timed over fewer steps without the first, since its steps are
all alike, and once more with one thread. Compared are images a second.

Where other work shares the machine, two threads wait for each other, and seconds of the wall say little.
"per core" compares CPU seconds, ours against the ordinary loop with one thread, to which other work
adds little. "arithmetic" and "memory" are the shares of a step's CPU seconds that its operations would
take at the rate of a matmul and of a copy, measured in the same round.
"""

from __future__ import annotations

import os
import statistics
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.common.options import command
from benchmarks.common.results import Row, read, write
from benchmarks.throughput.families import FAMILIES
from benchmarks.throughput.machine import demand, rates
from benchmarks.throughput.ordinary import Images, Loop
from benchmarks.throughput.ours import Workers
from benchmarks.throughput.parts import PARTS, parts_of
from prescreen import Training
from prescreen.text import plain_table

RESULTS = Path(__file__).parent / "results" / "throughput.csv"


def main() -> None:
    """Measure, or print a table."""
    cores = len(os.sched_getaffinity(0))
    numbers = {"rounds": 5, "steps": 100, "batch": 128, "ordinary_steps": 10, "loader_workers": 0}
    parser = command(
        __doc__,
        do=("measure", "table", "profile"),
        families=list(FAMILIES),
        **numbers,
        workers=cores,
        device="cpu",
        out=str(RESULTS),
    )
    args = parser.parse_args()
    {"measure": measure, "table": table, "profile": profile}[args.do](args)


def measure(args: Namespace) -> None:
    """All rounds of all families; the file of results is written after each round."""
    workers = Workers(args.workers)
    images = {family: Images(*FAMILIES[family].images()) for family in args.families}
    for family in images:
        workers.prepare(family)
    rows: list[Row] = []
    for number in range(args.rounds):
        for family, own in images.items():
            training = recipe(args, family)
            rows.append(round_of(args, workers, family, number % 5, training, own))
        write(Path(args.out), rows)
    table(args)


def recipe(args: Namespace, family: str) -> Training:
    """A family's training, in this benchmark's size."""
    own = FAMILIES[family].training
    return replace(own, steps=args.steps, batch_size=args.batch, device=args.device)


def round_of(
    args: Namespace, workers: Workers, family: str, number: int, training: Training, images: Images
) -> Row:
    """One candidate: ours, the ordinary loop with all threads and with one, and the machine."""
    candidate = FAMILIES[family].candidates()[number]
    row: Row = {"run": family, "factor": args.device, "step": number, "cores": args.workers}
    row["load"] = os.getloadavg()[0]
    wall, cpu = workers.screen(family, training, number)
    count = args.workers * args.steps * args.batch
    row |= {"candidates": 60 * args.workers / wall, "ours": count / wall, "ours.cpu": count / cpu}
    for name, threads in (("ordinary", args.workers), ("ordinary.one", 1)):
        torch.set_num_threads(threads)
        loop = Loop(candidate, images, training, args.loader_workers)
        loop.run(2)
        start, cpu = time.perf_counter(), time.process_time()
        loop.run(args.ordinary_steps)
        count = args.ordinary_steps * args.batch
        row[name] = count / (time.perf_counter() - start)
        row[f"{name}.cpu"] = count / (time.process_time() - cpu)
    torch.set_num_threads(1)
    limit = rates(args.device)
    batch = loop.batch()
    flops, rest = demand(lambda: loop.step(batch))
    row |= {"matmul": limit.flops, "copy": limit.memory, "calls": rest.calls}
    row["arithmetic"] = args.batch * limit.flops / flops
    row["memory"] = args.batch * limit.memory / rest.bytes
    return row


def table(args: Namespace) -> None:
    """Medians over the rounds, and ratios with their least and largest value."""
    rows = read(Path(args.out))
    families = {row["run"]: [one for one in rows if one["run"] == row["run"]] for row in rows}
    ratios = [ratios_of(own) for own in families.values()]
    cells = [cells_of(name, own) for name, own in families.items()]
    means = [
        statistics.geometric_mean(statistics.median(one) for one in column)
        for column in zip(*ratios, strict=True)
    ]
    cells.append(["geometric mean", "", "", "", *(f"{mean:.2f}" for mean in means), "", ""])
    load = [row["load"] for row in rows]
    matmul, copy = (statistics.median(row[key] for row in rows) / 1e9 for key in ("matmul", "copy"))
    print(
        f"{rows[0]['cores']:.0f} workers on {rows[0]['factor']}, torch {torch.__version__}, "
        f"{len(rows) // len(families)} rounds; load when a round began {min(load):.1f} to "
        f"{max(load):.1f}; one thread: matmul {matmul:.0f} GFLOP/s, copy {copy:.0f} GB/s"
    )
    header = ["", "candidates/min", "images/s", "ordinary", "ours / ordinary", "per core"]
    print(plain_table([*header, "arithmetic", "memory"], cells))


def ratios_of(own: Sequence[Row]) -> tuple[list[float], list[float]]:
    """Ours over the ordinary loop, in every round: by the wall, and by CPU seconds per core."""
    wall = [row["ours"] / row["ordinary"] for row in own]
    return wall, [row["ours.cpu"] / row["ordinary.one.cpu"] for row in own]


def cells_of(name: str, own: Sequence[Row]) -> list[str]:
    """One row of the table, from all rounds of a family."""
    rates = [
        statistics.median(row[key] for row in own) for key in ("candidates", "ours", "ordinary")
    ]
    shares = [
        statistics.median(row["ours.cpu"] / row[limit] for row in own)
        for limit in ("arithmetic", "memory")
    ]
    return [
        name,
        f"{rates[0]:.1f}",
        *(f"{rate:.0f}" for rate in rates[1:]),
        *map(spread, ratios_of(own)),
        *(f"{100 * share:.0f} %" for share in shares),
    ]


def spread(ratios: Sequence[float]) -> str:
    """A median with the range."""
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"


def profile(args: Namespace) -> None:
    """Shares of one candidate's seconds, of one worker alone."""
    cells = []
    for family in args.families:
        one = FAMILIES[family]
        training = recipe(args, family)
        seconds = parts_of(one.candidates()[0], one.task(), training)
        whole = sum(seconds.values())
        cells.append(
            [family, f"{whole:.1f}", *(f"{100 * share / whole:.1f}" for share in seconds.values())]
        )
        print(f"{family}: done, load {os.getloadavg()[0]:.1f}", flush=True)
    print("per cent of a candidate's seconds")
    print(plain_table(["", "seconds", *PARTS, "rest"], cells))


if __name__ == "__main__":
    main()
