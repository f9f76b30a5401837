"""What the driver of a ranking costs with thousands of candidates: journal, decisions, memory.

    python -m benchmarks.hosts.many_candidates                       # 625, 2,500 and 10,000 candidates
    python -m benchmarks.hosts.many_candidates --candidates 100 400

Candidates have invented readings, five each, which come at once: all that is left is the driver. Parts
are the measuring (events, journal, progress, time budget), the order with its intervals, results that
are written, and the run opened again. CPU seconds, the median of rounds that take turns, each in a
process of its own whose largest memory is told. "× n log n" is how often the time that n log n of the
first would be.
"""

from __future__ import annotations

import json
import math
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.common.options import command
from prescreen import Training, load_task, rank
from prescreen.panel import DEFAULT_PANEL
from prescreen.ranking.events import FINISHED, STARTED, Event
from prescreen.ranking.jobs import Job
from prescreen.ranking.opened import open_run
from prescreen.reading import Reading
from prescreen.readouts.parts import PARTS
from prescreen.screening import Plan
from prescreen.screening.form import Forms
from prescreen.spaces.candidate import Candidate
from prescreen.text import plain_table

READINGS = 5
PARTS_OF_TIME = ("measuring", "order, results", "opened", "as text")


@dataclass(frozen=True)
class Invented:
    """An executor that measures nothing."""

    def measure(
        self, jobs: Sequence[Job], plan: Plan | Forms, threads: int
    ) -> Generator[tuple[int, Event]]:
        """See ``Executor``."""
        generator = np.random.default_rng(0)
        for index, job in enumerate(jobs):
            yield index, STARTED
            for number in range(1, READINGS + 1):
                last = number == READINGS
                yield index, _reading(job.candidate.name, 20 * number, last, generator)
            yield index, FINISHED


def main() -> None:
    """Measure and print the table; with ``--one``, one run in this process."""
    parser = command(__doc__, candidates=[625, 2500, 10000], rounds=5, one=int)
    args = parser.parse_args()
    if args.one is not None:
        print(json.dumps(_measured(args.one)))
        return
    found: dict[int, list[dict[str, float]]] = {count: [] for count in args.candidates}
    for _ in range(args.rounds):
        for count, runs in found.items():
            line = [sys.executable, "-m", "benchmarks.hosts.many_candidates", "--one", str(count)]
            done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
            runs.append(json.loads(done.stdout.splitlines()[-1]))
    print(
        f"{READINGS} readings, {args.rounds} rounds, torch {torch.__version__}, {os.cpu_count()} "
        f"cores, load {os.getloadavg()[0]:.1f}"
    )
    header = ["candidates"]
    header += [name for part in PARTS_OF_TIME for name in (f"{part} s", "× n log n")]
    print(plain_table([*header, "journal MB", "memory MB"], _rows(found)))


def _rows(found: dict[int, list[dict[str, float]]]) -> list[list[str]]:
    medians = {
        count: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for count, runs in found.items()
    }
    least = min(medians)
    rows = []
    for count, own in medians.items():
        times = count * math.log(count) / (least * math.log(least))
        cells = [
            text
            for part in PARTS_OF_TIME
            for text in (f"{own[part]:.2f}", f"{own[part] / medians[least][part] / times:.2f}")
        ]
        rows.append([f"{count:,}", *cells, f"{own['journal']:.1f}", f"{own['memory']:.0f}"])
    return rows


def _measured(count: int) -> dict[str, float]:
    """CPU seconds of the parts of one run, and megabytes."""
    before = _memory()
    candidates = [Candidate(f"candidate {n}", {"number": n}, nn.Identity) for n in range(count)]
    moments = [time.process_time()]

    def update(_: Any) -> None:
        moments[1:] = [time.process_time()]

    with tempfile.TemporaryDirectory() as folder:
        ranking = rank(
            candidates,
            load_task("digits"),
            training=Training(steps=20 * READINGS),
            readings=READINGS,
            on=Invented(),
            out=folder,
            progress=update,
            time_budget=1e6,
        )
        ranked = time.process_time()
        open_run(folder)
        opened = time.process_time()
        ranking.to_text(80)
        end = time.process_time()
        size = (Path(folder) / "journal.jsonl").stat().st_size
    spans = (moments[1] - moments[0], ranked - moments[1], opened - ranked, end - opened)
    return {
        **dict(zip(PARTS_OF_TIME, spans, strict=True)),
        "journal": size / 1e6,
        "memory": _memory() - before,
    }


def _reading(name: str, step: int, last: bool, generator: np.random.Generator) -> Reading:
    values = {readout: float(generator.normal()) for readout in DEFAULT_PANEL}
    architecture = f"{name.split()[-1]} BatchNorm2d Conv2d Linear ReLU"  # one family
    kept = {DEFAULT_PANEL[0]: tuple(generator.normal(size=PARTS).tolist())} if last else {}
    return Reading(
        step, values, seconds=0.1, training_loss=1.0, architecture=architecture, replicates=kept
    )


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


if __name__ == "__main__":
    main()
