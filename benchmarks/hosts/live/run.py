"""What pruning saves in users' own scripts, readings included, and what it loses.

    nice python -m benchmarks.hosts.live.run --data DATA                      # hours; it resumes
    nice python -m benchmarks.hosts.live.run --data DATA --scripts mlp --seeds 2 --trials 10
    python -m benchmarks.hosts.live.run table                                 # of --out, or as committed

mlp: an Optuna objective with a training loop of its own, on handwritten digits. lightning: a Lightning
module in Optuna. momentum: learning rate and momentum of one network in Ray Tune. The last two train on
images of CIFAR-10 at 16×16 pixels. All validate once an epoch. Each study runs in a process of its own
with one thread: unpruned, pruned by Optuna's MedianPruner or Ray's MedianStoppingRule on validation
accuracy, and by ReadoutPruner or ReadoutScheduler with Reader. All of these have their defaults. Of one
seed the drawn trials are the same.

CPU: seconds of the study's processor time, all included, its median over seeds. of unpruned: the median
of the ratio to the unpruned study of the same seed. regret: how much better the unpruned study's best
final validation accuracy is, in points, on average and at most. completed: trials that ran to their end.
reading: the share of wall time that readers took, as they measure it.
"""

from __future__ import annotations

import importlib
import statistics
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmarks.common.options import command
from benchmarks.common.results import Row, read, write
from benchmarks.hosts.live.data import cifar10, digits
from prescreen.text import plain_table

RESULTS = Path(__file__).parent / "results"
WAYS = ("unpruned", "validation", "readouts")
# Script -> its module, its function, its epochs.
SCRIPTS = {
    "mlp": ("in_optuna", "mlp", 60),
    "lightning": ("in_optuna", "lightning_module", 5),
    "momentum": ("in_ray", "momentum", 5),
}


def main() -> None:
    """Run what is missing, and print the table."""
    parser = command(__doc__, data=Path, out=Path, seeds=5, trials=25)
    parser.add_argument("do", nargs="?", choices=("run", "table"), default="run")
    parser.add_argument("--scripts", nargs="+", choices=SCRIPTS, default=list(SCRIPTS))
    args = parser.parse_args()
    args.out = args.out or (RESULTS if args.do == "table" else Path("runs/live"))
    file = args.out / f"live_{args.trials}.csv"
    rows = read(file) if file.exists() else []
    done = {row["run"] for row in rows}
    for seed in range(args.seeds if args.do == "run" else 0):
        for script in args.scripts:
            for way in WAYS:
                if (name := f"{script} {way} {seed}") not in done:
                    rows.append({"run": name, **alone(script, way, seed, args)})
                    write(file, rows)
    print(plain_table(HEADER, table(rows)))


def alone(script: str, way: str, seed: int, args: Any) -> dict[str, float]:
    """A study in a process of its own."""
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(study, (script, way, seed, args.trials, args.data, args.out))


def study(
    script: str, way: str, seed: int, trials: int, folder: Path, out: Path
) -> dict[str, float]:
    """Run one study."""
    torch.set_num_threads(1)
    module, function, epochs = SCRIPTS[script]
    data = digits() if script == "mlp" else cifar10(folder / "cifar10", out / "cifar10_16.pt")
    run = getattr(importlib.import_module(f"benchmarks.hosts.live.{module}"), function)
    found: dict[str, float] = run(data, way, seed, trials, epochs)
    return found


HEADER = ["script", "pruned by", "studies", "CPU", "of unpruned %", "regret", "largest"]
HEADER += ["completed", "reading %"]


def table(rows: Sequence[Row]) -> list[list[str]]:
    """A line for each script and way, and one for each way over all scripts."""
    by_name = {tuple(row["run"].split()): row for row in rows}
    scripts = [script for script in SCRIPTS if any(name[0] == script for name in by_name)]
    lines = []
    for name, among in {**{script: [script] for script in scripts}, "all": scripts}.items():
        for way in WAYS:
            pairs = [
                (row, by_name[script, "unpruned", seed])
                for (script, as_way, seed), row in by_name.items()
                if script in among and as_way == way and (script, "unpruned", seed) in by_name
            ]
            lines.append([name, way, *(figures(pairs) if pairs else [])])
    return lines


def figures(pairs: Sequence[tuple[Row, Row]]) -> list[str]:
    """The figures of studies, each with the unpruned one of its seed."""
    regrets = [max(0.0, full["best"] - row["best"]) for row, full in pairs]
    ratios = [100 * row["cpu"] / full["cpu"] for row, full in pairs]
    return [
        str(len(pairs)),
        f"{statistics.median(row['cpu'] for row, _ in pairs):.1f}",
        f"{statistics.median(ratios):.0f}",
        f"{statistics.fmean(regrets):.2f}",
        f"{max(regrets):.2f}",
        f"{statistics.median(row['completed'] for row, _ in pairs):.0f}",
        f"{100 * sum(r['reading'] for r, _ in pairs) / sum(r['seconds'] for r, _ in pairs):.1f}",
    ]


if __name__ == "__main__":
    main()
