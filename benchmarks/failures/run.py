"""Which readouts are fooled, and by what: recipes, overfitting, unequal classes, foreign probes.

    python -m benchmarks.failures.run train --data DATA --truth TRUTH --other OTHER   # resumable
    python -m benchmarks.failures.run train recipe overfit --data DATA --truth TRUTH
    python -m benchmarks.failures.run table

recipe: one network, whose training differs in one factor at a time. overfit: networks of several
sizes on few images. imbalance: cells on a long tail of classes. shifted: cells that are read on
probe batches from other distributions. DATA is a folder of CIFAR-10 in parquet files, TRUTH a CSV
with columns arch and test_accuracy, OTHER a folder of images for one more probe. With --limit
(number of candidates) `train` is a trial.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

from benchmarks.common.journalled import Work, journalled
from benchmarks.common.options import command, folder_of, need
from benchmarks.common.results import Row, read, without_failures, write
from benchmarks.failures.data import load_data
from benchmarks.failures.measure import SETTINGS, measure
from benchmarks.failures.plans import EXPERIMENTS, Plan, plans
from benchmarks.failures.tables import TABLES
from prescreen.ranking.replay import Record

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run the sub-command."""
    out = Path("prescreen-runs/where_it_fails")
    options = {"data": Path, "truth": Path, "other": Path, "workers": 2, "limit": int, "out": out}
    parser = command(__doc__, do=("train", "table"), **options)
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=", ".join(EXPERIMENTS))
    args = parser.parse_args()
    if unknown := [name for name in args.experiments if name not in EXPERIMENTS]:
        parser.error(f"EXPERIMENT must be one of {', '.join(EXPERIMENTS)}, got {unknown[0]!r}")
    chosen = args.experiments or EXPERIMENTS
    if args.do == "train":
        need(args, "data", "truth")
    for experiment in chosen:
        if args.do == "table":
            rows = read(RESULTS / f"{experiment}.csv")
            rows = without_failures(rows, f"{experiment}: ")
            print(f"\n{TABLES[experiment](rows)}")
            continue
        planned = plans(experiment, args.truth)[: args.limit]
        records = train(args, experiment, planned)
        folder = folder_of(RESULTS, args, trial=args.limit is not None)
        rows = [row for plan in planned for row in rows_of(plan, records[plan.name])]
        write(folder / f"{experiment}.csv", rows, digits=4)


def train(args: Namespace, experiment: str, planned: list[Plan]) -> dict[str, Record]:
    """Measure all candidates that are not in the journal yet; a failure is a result."""
    settings = {"experiment": experiment, **SETTINGS}
    if experiment == "shifted":
        settings["other"] = args.other is not None
    work = Work(measure, load_data, (args.data, args.other), args.workers)
    return journalled(args.out / experiment, settings, planned, work)


def rows_of(plan: Plan, record: Record) -> Iterator[Row]:
    """One row per step and probe batch, of values that are named "probe: value" or just "value"."""
    row: Row = {"run": plan.name, "failure": "", "factor": plan.factor, "level": plan.level}
    if plan.published is not None:
        row["published"] = plan.published
    if record.status != "finished":
        yield {**row, "failure": record.status}
        return
    for reading in record.trajectory:
        by_probe: dict[str, Row] = {}
        for name, value in reading.values.items():
            probe, _, short = name.rpartition(": ")
            by_probe.setdefault(probe, {})[short] = value
        for probe, values in by_probe.items():
            yield {**row, "step": reading.step, **({"probe": probe} if probe else {}), **values}


if __name__ == "__main__":
    main()
