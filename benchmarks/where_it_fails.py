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
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path

import torch
from where_it_fails_data import Data, load_data
from where_it_fails_plans import EXPERIMENTS, Plan, plans
from where_it_fails_results import RESULTS, write_results
from where_it_fails_runs import SETTINGS, measure
from where_it_fails_table import print_tables

from prescreen import Reading
from prescreen.journal import Journal, Record
from prescreen.screening import CandidateFailed

Outcome = list[Reading] | tuple[str, str]

_data: list[Data] = []


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
    with Journal(args.out / experiment, settings) as journal:
        waiting = [p for p in planned if not journal.records.get(p.name, Record()).done]
        for number, (plan, outcome) in enumerate(_in_processes(args, waiting), start=1):
            journal.started(plan.name)
            if isinstance(outcome, tuple):
                journal.failed(plan.name, *outcome)
            else:
                for reading in outcome:
                    journal.reading(plan.name, reading)
                journal.finished(plan.name)
            print(f"{experiment}: {number} of {len(waiting)}  {plan.name}", flush=True)
        return {plan.name: journal.records[plan.name] for plan in planned}


def _in_processes(args: argparse.Namespace, waiting: list[Plan]) -> Iterator[tuple[Plan, Outcome]]:
    if not waiting:
        return
    workers = min(args.workers, len(waiting))
    given = (args.data, args.other)
    with ProcessPoolExecutor(workers, get_context("spawn"), _load, given) as pool:
        futures = {pool.submit(_outcome, plan): plan for plan in waiting}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _load(data: Path, other: Path | None) -> None:
    torch.set_num_threads(1)
    _data.append(load_data(data, other))


def _outcome(plan: Plan) -> Outcome:
    try:
        return measure(_data[0], plan)
    except CandidateFailed as error:
        return error.kind, error.reason
    except Exception as error:  # what a candidate cannot do is a result and ends no other's run
        return "run", f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    main()
