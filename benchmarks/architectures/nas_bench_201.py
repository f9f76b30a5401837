"""Does the readout find the better cell? NAS-Bench-201, CIFAR-10, against published accuracies.

    python -m benchmarks.architectures.nas_bench_201 train tune   --data DATA --truth TRUTH   # hours
    python -m benchmarks.architectures.nas_bench_201 train report --data DATA --truth TRUTH
    python -m benchmarks.architectures.nas_bench_201 table report

DATA is a folder of CIFAR-10 in parquet files, TRUTH a CSV with columns arch, params, mflops and
test_accuracy (percent, of the full networks after 200 epochs). Choices are made on the cells of
`tune` only. `train` resumes if it is interrupted. It writes everything measured for a list of cells to
results/, or for the first --limit cells to --out. `table` reads results/.
"""

from __future__ import annotations

from argparse import Namespace
from functools import partial
from pathlib import Path

from prescreen.search_spaces import nas_bench_201

from benchmarks.architectures.measure import last_values, score_untrained, train_briefly
from benchmarks.architectures.table import RESULTS, lead, score_table
from benchmarks.common.images import labelled, open_test, published_cells, shuffled, timed
from benchmarks.common.options import command, folder_of, need
from benchmarks.common.readouts import MEASURED, PANEL
from benchmarks.common.results import read, write
from prescreen import Candidate, Processes, Training, load_task

# Rows of TRUTH after a shuffle with this seed. Rows 300 to 499 were reported on once; the panel was
# changed after that, so they no longer count as unseen.
SHUFFLE = 20261124
CELLS = {"tune": slice(0, 300), "report": slice(500, 700)}

IMAGE_SIZE = 16
TRAINING = Training(steps=1200, batch_size=64, lr=0.05)
READINGS = 10
PROBE = 512
VALIDATION = 1000

# Proxies at initialisation see the full networks, as in their papers, at the full image size.
FULL = {"channels": 16, "cells_per_stage": 5}

# What decisions over time are replayed from.
RECORDED = (
    *PANEL,
    *("mutual_information", "confidence", "validation_accuracy", "validation_accuracy_batch"),
)


def main() -> None:
    """Run the sub-command."""
    out = Path("prescreen-runs/nas_bench_201")
    options = {"data": Path, "truth": Path, "limit": int, "workers": 2, "out": out}
    args = command(__doc__, do=("train", "table"), cells=tuple(CELLS), **options).parse_args()
    if args.do == "train":
        need(args, "data", "truth")
        train(args)
        return
    rows = read(RESULTS / f"{args.cells}.csv")
    title = f"{len(rows)} cells of {args.cells!r}, 95 % bootstrap intervals over cells, seed 0"
    print(title, score_table(rows)[0], lead(rows), sep="\n")


def train(args: Namespace) -> None:
    """Score all cells at initialisation, train them briefly, and write what was measured."""
    cells = choose_cells(args.truth, args.cells)[: args.limit]
    archs = [cell["arch"] for cell in cells]
    untrained = score_untrained(
        load_task(args.data, probe_size=PROBE),
        [full_candidate(arch) for arch in archs],
        args.workers,
        args.out / f"{args.cells}-untrained",
    )
    task = load_task(args.data, probe_size=PROBE, image_size=IMAGE_SIZE)
    test = open_test(args.data)
    ranking = train_briefly(
        task,
        [reduced_candidate(arch) for arch in archs],
        TRAINING,
        list(MEASURED),
        validation=labelled(task, test, shuffled(test)[:VALIDATION]),
        seen=next(task.batches(VALIDATION, 1)),
        readings=READINGS,
        on=Processes(args.workers),
        out=args.out / args.cells,
    )
    trained = {row.name: row for row in ranking}
    finals, readings = [], []
    for cell in cells:
        arch = cell.pop("arch")
        row = trained[arch]
        failure = "" if row.status == "ok" else row.status
        last = last_values(row.trajectory) | {"parameters": row.parameters}
        finals.append({"run": arch, "failure": failure, **cell, **untrained[arch], **last})
        for reading in row.trajectory:
            values = {name: reading.values[name] for name in RECORDED if name in reading.values}
            values["training_loss"] = reading.training_loss
            readings.append({"run": arch, "step": reading.step, **values})
    folder = folder_of(RESULTS, args, trial=args.limit is not None)
    write(folder / f"{args.cells}.csv", finals)
    write(folder / f"{args.cells}_readings.csv", readings)


def choose_cells(truth: Path, cells: str) -> list[dict[str, str]]:
    """The published rows of a list of cells."""
    return published_cells(truth, SHUFFLE)[CELLS[cells]]


def reduced_candidate(arch: str) -> Candidate:
    """A small network of one cell per stage; building it starts the clock."""
    config = {"arch": arch}
    return Candidate(
        arch,
        config,
        partial(timed, partial(nas_bench_201.build, config)),
        partial(nas_bench_201.build_untrained, config),
    )


def full_candidate(arch: str) -> Candidate:
    """The network whose accuracy was published."""
    return Candidate(arch, {"arch": arch}, partial(nas_bench_201.build, {"arch": arch}, **FULL))


if __name__ == "__main__":
    main()
