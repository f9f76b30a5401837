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
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from baselines import AT_INITIALISATION, accuracy
from nas_bench_201_table import RESULTS, print_table, write_cells
from torch import Tensor, nn

from prescreen import (
    READOUTS,
    UNTRAINED,
    Candidate,
    Reading,
    Task,
    Training,
    Trajectory,
    load_task,
    rank,
)
from prescreen.data.images import Layout, collect
from prescreen.data.parquet_files import open_parquet
from prescreen.journal import Journal, Record
from prescreen.report import Row
from search_spaces import nas_bench_201

# Rows of TRUTH after a shuffle with this seed.
SHUFFLE = 20261124
CELLS = {"tune": slice(0, 300), "report": slice(300, 500)}

IMAGE_SIZE = 16
TRAINING = Training(steps=1200, batch_size=64, lr=0.05)
READINGS = 10
PROBE = 512
VALIDATION = 1000

# Proxies at initialisation see the full networks, as in their papers, at the full image size.
FULL = {"channels": 16, "cells_per_stage": 5}
BATCH = 64

_started = 0.0


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
    rows = choose_cells(args.truth, args.cells)[: args.limit]
    untrained = score_untrained(args, rows)
    trained = train(args, rows)
    write_cells(args.cells, rows, untrained, trained)
    print(f"written: {RESULTS}")


def choose_cells(truth: Path, cells: str) -> list[dict[str, str]]:
    """The rows of the truth that belong to `tune` or `report`."""
    with truth.open() as file:
        rows = list(csv.DictReader(file))
    random.Random(SHUFFLE).shuffle(rows)
    return rows[CELLS[cells]]


def train(args: argparse.Namespace, rows: list[dict[str, str]]) -> dict[str, Row]:
    """Train all cells briefly with the package's own `rank`."""
    task = load_task(args.data, probe_size=PROBE, image_size=IMAGE_SIZE)
    images, labels = validation_images(args.data, task)
    seen = next(task.batches(VALIDATION, 1))
    validate = partial(accuracy, inputs=images, labels=labels)
    candidates = [
        Candidate(row["arch"], {"arch": row["arch"]}, partial(build, row["arch"])) for row in rows
    ]
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


def build(arch: str, *, num_classes: int, in_channels: int) -> nn.Module:
    """A reduced network of one cell a stage; its clock starts."""
    global _started
    _started = time.process_time()
    return nas_bench_201.build({"arch": arch}, num_classes=num_classes, in_channels=in_channels)


def cpu_seconds(model: nn.Module) -> float:
    """Of this process since it built the model: a shared machine does not lengthen them much."""
    return time.process_time() - _started


def validation_images(data: Path, task: Task) -> tuple[Tensor, Tensor]:
    """Labelled test images, for the baselines only, prepared as the probe batch is."""
    test = open_parquet(next(iter(sorted(data.glob("test*.parquet"))))).train
    rows = torch.randperm(len(test), generator=torch.Generator().manual_seed(1))[:VALIDATION]  # type: ignore[arg-type]
    samples = collect(test, rows, Layout(3, IMAGE_SIZE, IMAGE_SIZE, torch.uint8))
    return task.batches.moments.normalize(samples.images), samples.labels  # type: ignore[attr-defined]


def score_untrained(args: argparse.Namespace, rows: list[dict[str, str]]) -> dict[str, Trajectory]:
    """Score all cells at initialisation by the peers' proxies; resumable."""
    out = args.out / f"{args.cells}-untrained"
    settings = {"proxies": list(AT_INITIALISATION), "batch": BATCH, **FULL}
    with Journal(out, settings) as journal:
        waiting = [r["arch"] for r in rows if not journal.records.get(r["arch"], Record()).done]
        for arch, values in _in_processes(args.workers, args.data, waiting):
            journal.started(arch)
            journal.reading(arch, Reading(0, values, values.pop("cpu_seconds")))
            journal.finished(arch)
            print(f"untrained: {arch}", flush=True)
        return {arch: record.trajectory for arch, record in journal.records.items()}


def _in_processes(
    workers: int, data: Path, archs: list[str]
) -> Iterator[tuple[str, dict[str, float]]]:
    if archs:
        batches = load_task(data, probe_size=PROBE).batches(BATCH, 0)
        pairs = [next(batches) for _ in range(2)]
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            yield from zip(archs, pool.map(partial(score, pairs), archs), strict=True)


def score(pairs: list[tuple[Tensor, Tensor]], arch: str) -> dict[str, float]:
    """All proxies of one cell; a value of several parts becomes several values."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nas_bench_201.build({"arch": arch}, **FULL)
    given: dict[str, Any] = {
        "model": model,
        "inputs": pairs[0][0],
        "labels": pairs[0][1],
        "batches": pairs,
        "image_shape": tuple(pairs[0][0].shape[1:]),
    }
    start = time.process_time()
    values: dict[str, float] = {}
    for name, baseline in AT_INITIALISATION.items():
        value = baseline.function(**{argument: given[argument] for argument in baseline.needs})
        parts = value.items() if isinstance(value, dict) else [("", value)]
        values |= {f"{name}.{part}".rstrip("."): float(v) for part, v in parts}
    return values | {"cpu_seconds": time.process_time() - start}


if __name__ == "__main__":
    main()
