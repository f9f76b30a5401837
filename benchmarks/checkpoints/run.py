"""Which readouts choose a good checkpoint of one run? CIFAR-10 at 16×16, three networks.

    python benchmarks/checkpoint_selection.py train --data DATA   # about an hour; resumable
    python benchmarks/checkpoint_selection.py table report        # from results/
    python benchmarks/checkpoint_selection.py table tune          # from what was trained here

Runs differ in regime (clean; 40 % wrong labels; 2,000 images; a long tail of classes),
network and seed, and are read at 36 checkpoints; clean runs are read and judged on corrupted images
as well. Seeds 0 and 1 are there to choose settings on (`tune`), seed 2 to report. DATA is a folder
of CIFAR-10 in parquet files.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from checkpoint_selection_choice import WINDOW
from checkpoint_selection_data import load_data
from checkpoint_selection_results import RESULTS, write_results
from checkpoint_selection_runs import SEEDS, SETTINGS, Plan, measure, plans
from checkpoint_selection_table import print_tables
from journalled import Outcome, in_processes, journalled

from prescreen.ranking.journal import Record


def main() -> None:
    """Run the sub-command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("do", choices=["train", "table"])
    parser.add_argument("runs", nargs="?", choices=list(SEEDS), default="report")
    parser.add_argument("--data", type=Path)
    parser.add_argument(
        "--window",
        type=float,
        default=WINDOW,
        help="share of checkpoints, from the end, to choose of",
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="runs whose name contains this; a trial")
    parser.add_argument("--limit", type=int, help="only the first so many runs; a trial")
    parser.add_argument(
        "--steps-share", type=float, default=1.0, help="of the steps of every epoch; a trial"
    )
    parser.add_argument("--out", type=Path, default=Path("prescreen-runs/checkpoint_selection"))
    args = parser.parse_args()
    if args.do == "table":
        print_tables(args.runs, args.window, results_of(args.runs, args.out))
        return
    if args.data is None:
        parser.error("train needs --data")
    planned = [plan for plan in plans() if args.only in plan.name][: args.limit]
    whole = len(planned) == len(plans()) and args.steps_share == 1
    records = train(args, planned)
    for runs, seeds in SEEDS.items():
        # The results of a trial never replace the real ones.
        path = results_of(runs, args.out) if whole else args.out / "trial" / f"{runs}.csv"
        write_results([plan for plan in planned if plan.seed in seeds], records, path)
        print(f"written: {path}")


def results_of(runs: str, out: Path) -> Path:
    """Where results are: those to report are committed, those of tuning lie beside the journal."""
    return RESULTS if runs == "report" else out / f"{runs}.csv"


def train(args: argparse.Namespace, planned: list[Plan]) -> dict[str, Record]:
    """Measure all runs that are not in the journal yet; a failure is a result."""
    settings = {"steps_share": args.steps_share, **SETTINGS}
    return journalled(
        args.out / "journal", settings, planned, lambda plans: _in_processes(args, plans), _tell
    )


def _in_processes(args: argparse.Namespace, waiting: list[Plan]) -> Iterator[tuple[Plan, Outcome]]:
    one = partial(measure, steps_share=args.steps_share)
    return in_processes(one, waiting, load_data, (args.data,), args.workers)


def _tell(number: int, count: int, plan: Plan, outcome: Outcome) -> None:
    print(f"{number} of {count}  {plan.name}  {_told(outcome)}", flush=True)


def _told(outcome: Outcome) -> str:
    if isinstance(outcome, tuple):
        return ": ".join(outcome)
    accuracies = [reading.values["test"] for reading in outcome]
    return (
        f"{outcome[-1].seconds:.0f} s, {len(outcome)} checkpoints, "
        f"test accuracy {max(accuracies):.3f} at best, {accuracies[-1]:.3f} at last"
    )


if __name__ == "__main__":
    main()
