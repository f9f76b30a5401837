"""Which readouts are fooled, and by what: recipes, overfitting, unequal classes, foreign probes.

    python benchmarks/where_it_fails.py train --data DATA --truth TRUTH --other OTHER   # resumable
    python benchmarks/where_it_fails.py train recipe overfit --data DATA --truth TRUTH
    python benchmarks/where_it_fails.py table                                     # from results/

recipe: one network, whose training differs in one factor at a time. overfit: networks of several
sizes on few images. imbalance: cells on a long tail of classes. shifted: cells that are read on
probe batches from other distributions. DATA is a folder of CIFAR-10 in parquet files, TRUTH a CSV
with columns arch and test_accuracy, OTHER a folder of images that make one more probe.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from journalled import Outcome, in_processes, journalled
from where_it_fails_data import load_data
from where_it_fails_plans import EXPERIMENTS, Plan, plans
from where_it_fails_results import RESULTS, write_results
from where_it_fails_runs import SETTINGS, measure
from where_it_fails_table import print_tables

from prescreen.ranking.journal import Record


def main() -> None:
    """Run the sub-command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("do", choices=["train", "table"])
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=", ".join(EXPERIMENTS))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument("--other", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--limit", type=int, help="only so many candidates; written to OUT alone")
    parser.add_argument("--out", type=Path, default=Path("prescreen-runs/where_it_fails"))
    args = parser.parse_args()
    if unknown := [name for name in args.experiments if name not in EXPERIMENTS]:
        parser.error(f"experiments: {', '.join(EXPERIMENTS)} are allowed, got {unknown[0]!r}")
    chosen = args.experiments or EXPERIMENTS
    if args.do == "table":
        print_tables(chosen)
        return
    if args.data is None or args.truth is None:
        parser.error("train needs --data and --truth")
    path = RESULTS if args.limit is None else args.out / "trial.csv"
    for experiment in chosen:
        planned = plans(experiment, args.truth)[: args.limit]
        write_results(experiment, planned, train(args, experiment, planned), path)
        print(f"{experiment}: written to {path}", flush=True)


def train(args: argparse.Namespace, experiment: str, planned: list[Plan]) -> dict[str, Record]:
    """Measure all candidates that are not in the journal yet; a failure is a result."""
    settings = {"experiment": experiment, **SETTINGS}
    if experiment == "shifted":
        settings["other"] = args.other is not None

    def tell(number: int, count: int, plan: Plan, outcome: Outcome) -> None:
        print(f"{experiment}: {number} of {count}  {plan.name}", flush=True)

    def measured(waiting: list[Plan]) -> Iterator[tuple[Plan, Outcome]]:
        return in_processes(measure, waiting, load_data, (args.data, args.other), args.workers)

    return journalled(args.out / experiment, settings, planned, measured, tell)


if __name__ == "__main__":
    main()
