"""Do readouts find the better network, and the better checkpoint, of a kind of task?

    python -m benchmarks.tasks.run run language --data TEXT        # about an hour; resumable
    python -m benchmarks.tasks.run run segmentation --data MASKS
    python -m benchmarks.tasks.run table language

Candidates are drawn from the task's space with a fixed seed. Each is trained briefly and read after
every quarter. The truth is its quality after 8 times as many steps, with two other seeds. Other runs,
most of which memorise few or wrong data, are read at 20 checkpoints. Every value is kept, so `table`
prints all tables again, with --full of every readout. `export` makes the results from what an
unfinished `run` has measured so far.
With --limit (number of candidates and of runs) or --steps-share it is a trial.
"""

from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.common.journalled import Work, journalled
from benchmarks.common.options import command, folder_of, need
from benchmarks.common.results import Row, read, readings, write
from benchmarks.tasks.kind import Kind
from benchmarks.tasks.kinds import KINDS
from benchmarks.tasks.measure import measure
from benchmarks.tasks.tables import print_tables
from prescreen.ranking.folder import JOURNAL
from prescreen.ranking.journal import Journal
from prescreen.ranking.replay import Record

RESULTS = Path(__file__).parent / "results"


def main() -> None:
    """Run the sub-command."""
    options = {"data": Path, "workers": 1, "limit": int, "steps_share": 1.0, "results": RESULTS}
    out = Path("prescreen-runs/tasks")
    does = ("run", "export", "table")
    parser = command(__doc__, do=does, task=tuple(KINDS), **options, out=out, full=False)
    args = parser.parse_args()
    kind = KINDS[args.task]
    if args.do == "table":
        print_tables(kind, *(read(args.results / name) for name in files(kind)), full=args.full)
        return
    kind = tried(kind, args.limit, args.steps_share)
    folder = folder_of(args.results, args, trial=kind != KINDS[args.task])
    records = train(kind, args) if args.do == "run" else known(kind, args)
    across, runs = files(kind)
    write(folder / across, rows(kind, records, "brief", "truth"), digits=5)
    write(folder / runs, rows(kind, records, "run"), digits=5)


def files(kind: Kind) -> tuple[str, str]:
    """Names of results: across candidates, and of the checkpoints of runs."""
    return f"{kind.name}.csv", f"{kind.name}_checkpoints.csv"


def tried(kind: Kind, limit: int | None, steps_share: float) -> Kind:
    """The same kind with fewer candidates, runs and steps."""
    steps = max(1, round(steps_share * kind.training.steps))
    training = replace(kind.training, steps=steps)
    recipes = [
        {**r.recipe, "steps": max(1, round(steps_share * r.recipe["steps"]))} for r in kind.runs
    ]
    runs = tuple(replace(r, recipe=one) for r, one in zip(kind.runs, recipes, strict=True))
    count = kind.candidates_count if limit is None else limit
    return replace(kind, training=training, runs=runs[:limit], candidates_count=count)


def train(kind: Kind, args: Namespace) -> dict[str, Record]:
    """Measure all that is not in the journal yet; a failure is a result."""
    need(args, "data")
    work = Work(partial(measure, kind=kind), kind.load, (args.data,), args.workers)
    return journalled(args.out / kind.name, settings(kind), kind.plans, work)


def known(kind: Kind, args: Namespace) -> dict[str, Record]:
    """What has been measured so far; another process may be writing."""
    with TemporaryDirectory() as folder:
        shutil.copy(args.out / kind.name / JOURNAL, folder)
        with Journal(Path(folder), settings(kind)) as journal:
            return journal.records


def settings(kind: Kind) -> dict[str, object]:
    """What makes two measurements the same."""
    runs = [[r.regime, dict(r.config), dict(r.recipe)] for r in kind.runs]
    training = asdict(kind.training)
    return {"task": kind.name, "training": training, "longer": kind.longer, "runs": runs}


def rows(kind: Kind, records: Mapping[str, Record], *purposes: str) -> list[Row]:
    """A row for each reading of the trainings of some purposes that have ended."""
    found: list[Row] = []
    for plan in kind.plans:
        record = records.get(plan.name, Record())
        if plan.purpose in purposes and record.done:
            own = readings(plan.name, record.status, record.trajectory)
            networks = [
                {"architecture": one.architecture, "parameters": float(one.parameters)}
                for one in record.trajectory
            ] or [{}]
            found += [row | network for row, network in zip(own, networks, strict=False)]
    return found


if __name__ == "__main__":
    main()
