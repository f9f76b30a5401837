"""What a report of a large run costs: seconds, megabytes, and how both grow.

    python -m benchmarks.cost.report_cost                     # a few minutes
    python -m benchmarks.cost.report_cost --candidates 1000

Nothing is trained: the journal of a run of the default panel is made up, with 5 readings a candidate,
intervals, two choices in the config and one failure in 50. Each report is written by a fresh command,
``prescreen report RUN``, and by Python from the opened ``Ranking``: collecting and rendering alone.
Seconds are CPU time, to which other processes do not count. Growth is the time over n log n, relative
to that of the smallest run.
"""

from __future__ import annotations

import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.common.options import command
from prescreen.lines import line_of
from prescreen.panel import DEFAULT_PANEL
from prescreen.ranking.folder import JOURNAL, new_header
from prescreen.ranking.opened import open_run
from prescreen.reading import Reading
from prescreen.readouts.parts import PARTS
from prescreen.report import write_report
from prescreen.text import plain_table
from prescreen.training.recipe import Training

STEPS = (20, 40, 60, 80, 100)
_KINDS = ("Linear ReLU Conv2d", "Linear ReLU Conv2d BatchNorm2d", "Linear GELU LayerNorm")


def main() -> None:
    """One row a size."""
    args = command(__doc__, candidates=[5000, 10_000, 20_000], seed=0).parse_args()
    rows, first = [], 0.0
    with TemporaryDirectory() as folder:
        for count in args.candidates:
            run = Path(folder) / str(count)
            write_run(run, count, args.seed)
            whole = _command(run)
            ranking = open_run(run).ranking
            began = time.process_time()
            size = write_report(ranking, run / "direct.html").stat().st_size / 1e6
            seconds = time.process_time() - began
            growth = whole / (count * math.log(count))
            first = first or growth
            numbers = f"{whole:.1f}", f"{seconds:.1f}", f"{growth / first:.2f}", f"{size:.1f}"
            rows.append([f"{count:,}", f"{count * len(STEPS):,}", *numbers])
    header = ["candidates", "readings", "s of the command", "s of the page", "grown", "MB"]
    print(plain_table(header, rows, ()))


def _command(run: Path) -> float:
    """CPU seconds of `prescreen report`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "prescreen", "report", str(run)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_run(folder: Path, count: int, seed: int) -> None:
    """Write the journal of a run that never was."""
    folder.mkdir(parents=True)
    settings = {
        "version": "0.1.0",
        "torch": "2.14.1",
        "task": "digits 0123456789abcdef",
        **Training(steps=STEPS[-1]).to_json(),
        "readouts": [*DEFAULT_PANEL],
        "readings": len(STEPS),
        "head": None,
        "extra": [],
        "measures": {},
        "threads": 1,
    }
    with (folder / JOURNAL).open("wb") as file:
        file.write(line_of(new_header(settings)))
        for event in _events(count, np.random.default_rng(seed)):
            file.write(line_of(event))


def _events(count: int, generator: np.random.Generator) -> Iterator[dict[str, Any]]:
    for number in range(count):
        width, depth = (int(one) for one in generator.integers(1, 500, 2))
        config = {"width": width, "depth": depth}
        parts = {"config": config, "name": f"candidate {number} w{width} d{depth}"}
        key = json.dumps(parts, sort_keys=True, separators=(",", ":"))
        yield {"event": "started", "candidate": key, "code": {}, "time": number}
        worth = generator.normal()
        for at, step in enumerate(STEPS, start=1):
            agreement = 1 / (1 + math.exp(-worth - math.log(step / 50) - generator.normal() / 9))
            noise = generator.normal(0, 0.01, PARTS)
            own = [agreement, 3 + worth / 9, 1e6 * width * depth]
            reading = Reading(
                step,
                dict(zip(DEFAULT_PANEL, own, strict=True)),
                seconds=step / 9,
                training_loss=2 - agreement,
                parameters=width * depth,
                architecture=f"{number:016x} {_KINDS[width % len(_KINDS)]}",
                replicates={DEFAULT_PANEL[0]: tuple((agreement + noise).tolist())},
            )
            event = {"event": "reading", "candidate": key, "reading": reading.to_json()}
            yield {**event, "number": at}
        end = {"candidate": key, "readings": len(STEPS), "time": number}
        if number % 50:
            yield {"event": "finished", **end}
        else:
            yield {"event": "failed", "kind": "diverged", "reason": "the loss is nan", **end}


if __name__ == "__main__":
    main()
