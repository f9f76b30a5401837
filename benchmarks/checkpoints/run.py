"""Which readouts choose a good checkpoint of one run? CIFAR-10 at 16×16, three networks.

    python -m benchmarks.checkpoints.run train --data DATA    # about an hour; resumable
    python -m benchmarks.checkpoints.run table report
    python -m benchmarks.checkpoints.run table tune           # from what was trained here

Runs differ in regime (clean; 40 % wrong labels; 2,000 images; a long tail of classes), network and
seed, and are read at 36 checkpoints; clean runs are read and judged on corrupted images as well.
Settings are chosen on seeds 0 and 1 (`tune`); seed 2 is reported. DATA is a folder of CIFAR-10 in
parquet files. --window is the share of checkpoints, from the end, to choose from. With --only (runs
whose name contains it), --limit (number of runs) or --steps-share (of every epoch's steps) `train` is
a trial.
"""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path

from benchmarks.checkpoints.choice import WINDOW
from benchmarks.checkpoints.data import load_data
from benchmarks.checkpoints.measure import SEEDS, SETTINGS, Plan, measure, plans
from benchmarks.checkpoints.tables import print_tables
from benchmarks.common.journalled import Work, journalled
from benchmarks.common.options import command, folder_of, need
from benchmarks.common.results import Row, read, readings, write
from prescreen.ranking.replay import Record

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run the sub-command."""
    options = {"data": Path, "window": WINDOW, "workers": 2, "only": "", "limit": int}
    out = Path("prescreen-runs/checkpoint_selection")
    parser = command(__doc__, do=("train", "table"), **options, steps_share=1.0, out=out)
    parser.add_argument("runs", nargs="?", choices=list(SEEDS), default="report")
    args = parser.parse_args()
    if args.do == "table":
        print_tables(read(results_of(args.runs, args.out)), args.window)
        return
    need(args, "data")
    planned = [plan for plan in plans() if args.only in plan.name][: args.limit]
    trial = len(planned) < len(plans()) or args.steps_share != 1
    records = train(args, planned)
    for runs in SEEDS:
        path = results_of(runs, args.out)
        path = folder_of(path.parent, args, trial) / path.name
        write(path, rows(runs, planned, records), digits=5)


def results_of(runs: str, out: Path) -> Path:
    """Where results are: reported ones are committed, those of tuning lie beside the journal."""
    return (RESULTS if runs == "report" else out) / f"{runs}.csv"


def train(args: Namespace, planned: list[Plan]) -> dict[str, Record]:
    """Measure all runs that are not in the journal yet; a failure is a result."""
    settings = {"steps_share": args.steps_share, **SETTINGS}
    one = partial(measure, steps_share=args.steps_share)
    work = Work(one, load_data, (args.data,), args.workers)
    return journalled(args.out / "journal", settings, planned, work)


def rows(runs: str, planned: list[Plan], records: dict[str, Record]) -> list[Row]:
    """One row per checkpoint of the runs with one of the seeds."""
    own = [(plan.name, records[plan.name]) for plan in planned if plan.seed in SEEDS[runs]]
    return [row for name, r in own for row in readings(name, r.status, r.trajectory)]


if __name__ == "__main__":
    main()
