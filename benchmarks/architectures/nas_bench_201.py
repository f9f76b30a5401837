"""Does the readout find the better cell? NAS-Bench-201, CIFAR-10, against published accuracies.

    python benchmarks/nas_bench_201.py train tune   --data DATA --truth TRUTH   # hours; resumable
    python benchmarks/nas_bench_201.py train report --data DATA --truth TRUTH
    python benchmarks/nas_bench_201.py table report                            # from results/

DATA is a folder of CIFAR-10 in parquet files, TRUTH a CSV with columns arch, params, mflops and
test_accuracy (percent, of the full networks after 200 epochs). Choices are made on the cells of
`tune` only. `train` writes the cells and all that was measured to results/nas_bench_201.csv.
"""

from __future__ import annotations

import argparse
import csv
import random
from functools import partial
from pathlib import Path

from baselines import accuracy
from labelled import cpu_seconds, labelled, open_test, shuffled, timed
from nas_bench_201_table import RESULTS, print_table, write_cells
from prescreen.search_spaces import nas_bench_201
from untrained_scores import score_untrained

from prescreen import READOUTS, UNTRAINED, Candidate, Training, load_task, rank
from prescreen.ranking.report import Row

# Rows of TRUTH after a shuffle with this seed. Rows 300 to 499 were reported on once; the panel was
# changed after that, so that they are clean no more.
SHUFFLE = 20261124
CELLS = {"tune": slice(0, 300), "report": slice(500, 700)}

IMAGE_SIZE = 16
TRAINING = Training(steps=1200, batch_size=64, lr=0.05)
READINGS = 10
PROBE = 512
VALIDATION = 1000

# Proxies at initialisation see the full networks, as in their papers, at the full image size.
FULL = {"channels": 16, "cells_per_stage": 5}


def main() -> None:
    """Run the sub-command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("do", choices=["train", "table"])
    parser.add_argument("cells", choices=list(CELLS))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--truth", type=Path)
    parser.add_argument(
        "--limit", type=int, help="only so many of the cells; replaces fuller results"
    )
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("prescreen-runs/nas_bench_201"))
    args = parser.parse_args()
    if args.do == "table":
        print_table(args.cells)
        return
    if args.data is None or args.truth is None:
        parser.error("train needs --data and --truth")
    rows = choose_cells(args.truth, CELLS[args.cells])[: args.limit]
    untrained = score_untrained(
        load_task(args.data, probe_size=PROBE),
        [full_candidate(row["arch"]) for row in rows],
        args.workers,
        args.out / f"{args.cells}-untrained",
    )
    trained = train(args, rows)
    write_cells(args.cells, rows, untrained, trained)
    print(f"written: {RESULTS}")


def choose_cells(truth: Path, rows: slice) -> list[dict[str, str]]:
    """These rows of the shuffled truth."""
    with truth.open() as file:
        every = list(csv.DictReader(file))
    random.Random(SHUFFLE).shuffle(every)
    return every[rows]


def train(args: argparse.Namespace, rows: list[dict[str, str]]) -> dict[str, Row]:
    """Train all cells briefly with the package's own `rank`."""
    task = load_task(args.data, probe_size=PROBE, image_size=IMAGE_SIZE)
    test = open_test(args.data)
    images, labels = labelled(task, test, shuffled(test)[:VALIDATION])
    seen = next(task.batches(VALIDATION, 1))
    validate = partial(accuracy, inputs=images, labels=labels)
    candidates = [reduced_candidate(row["arch"]) for row in rows]
    ranking = rank(
        candidates,
        task,
        training=TRAINING,
        readouts=[*READOUTS, *UNTRAINED],
        readings=READINGS,
        extra={
            # Taken first, so that it does not contain what only the baselines need.
            "cpu_seconds": cpu_seconds,
            "training_accuracy": partial(
                accuracy, inputs=seen[0], labels=seen[1], batch_statistics=True
            ),
            "validation_accuracy": partial(validate, batch_statistics=False),
            "validation_accuracy_batch": partial(validate, batch_statistics=True),
        },
        workers=args.workers,
        out=args.out / args.cells,
        progress=lambda p: print(f"{p.share:6.1%}  {p.finished} of {p.candidates}", flush=True),
    )
    return {row.name: row for row in ranking}


def reduced_candidate(arch: str) -> Candidate:
    """A small network of one cell a stage, whose building starts the clock."""
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
