"""What a start costs: from `prescreen rank` to the first training step, and where the time goes.

    python -m benchmarks.cost.start_cost --data digits DATA [--before CHECKOUT]

Each command ranks two NAS-Bench-201 cells by one training step each, in processes of its own. Columns
are the seconds since its beginning at which imports were done, the data were there, the first candidate
was built and its first step was done; then CPU seconds of the whole command with its workers. Medians of
rounds in which all rows take turns. "Fresh" begins with an empty cache, "kept" finds what was decoded.
`--before` adds rows of another checkout of prescreen.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from benchmarks.common.options import command
from prescreen.text import plain_table

ROOT = Path(__file__).parents[2]
PHASES = ("imports", "data", "build", "first step")
EXECUTORS = ("here", "processes,workers=2")

# A space that says when it is used: imported, then drawn from, then built in a worker.
SPACE = """
import functools, importlib.util, json, os, time
from torch.optim.optimizer import register_optimizer_step_post_hook
def stamp(phase):
    with open(os.environ["START_STAMPS"], "a") as file:
        file.write(json.dumps([phase, time.time()]) + chr(10))
stamp("imports")
spec = importlib.util.spec_from_file_location("cells", os.environ["START_SPACE"])
cells = importlib.util.module_from_spec(spec)
spec.loader.exec_module(cells)
def sample(trial):
    stamp("data")
    return cells.sample(trial)
@functools.wraps(cells.build)
def build(*given, **named):
    stamp("build")
    register_optimizer_step_post_hook(lambda *_: stamp("first step"))
    return cells.build(*given, **named)
"""


def main() -> None:
    """Print one table of all variants."""
    args = command(__doc__, data=["digits"], before=str, rounds=5).parse_args()
    _adopt()
    checkouts = {"now": ROOT, **({"before": Path(args.before)} if args.before else {})}
    variants = [
        (data, on, cache, when)
        for data in args.data
        for on in EXECUTORS
        for when in checkouts
        for cache in (("fresh", "kept") if when == "now" else ("fresh",))
    ]
    seconds: dict[tuple[str, ...], list[list[float]]] = {one: [] for one in variants}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.rounds):
            for one in variants:
                seconds[one].append(measured(Path(folder), checkouts[one[3]], *one[:3]))
    rows = [
        [Path(data).name, on, f"{when}, {cache}" if when == "now" else when, *medians(seconds[one])]
        for one in variants
        for data, on, cache, when in [one]
    ]
    print(plain_table(["data", "on", "", *PHASES, "CPU"], rows))


def measured(folder: Path, checkout: Path, data: str, on: str, cache: str) -> list[float]:
    """The seconds of one command, one for each column."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        space, stamps = Path(own, "space.py"), Path(own, "stamps")
        space.write_text(SPACE)
        kept = folder / Path(data).name if cache == "kept" else Path(own) / "cache"
        environment = {
            **os.environ,
            "PYTHONPATH": str(checkout),
            "PRESCREEN_CACHE": str(kept),
            "START_STAMPS": str(stamps),
            "START_SPACE": str(ROOT / "search_spaces" / "nas_bench_201.py"),
        }
        given = ["--data", data, "--on", on, "--out", f"{own}/run"]
        amount = ["--samples", "2", "--steps", "1", "--readings", "1"]
        words = [sys.executable, "-m", "prescreen", "rank", str(space), *given, *amount]
        if cache == "kept" and not kept.exists():
            subprocess.run(words, env=environment, check=True, capture_output=True, cwd=own)
            return measured(folder, checkout, data, on, cache)
        used, began = _cpu(), time.time()
        subprocess.run(words, env=environment, check=True, capture_output=True, cwd=own)
        first = dict(reversed([*_stamps(stamps)]))
        _reap()
        return [*(first[phase] - began for phase in PHASES), _cpu() - used]


def medians(rounds: list[list[float]]) -> Iterator[str]:
    """The median of every column."""
    return (f"{statistics.median(column):.1f}" for column in zip(*rounds, strict=True))


def _stamps(path: Path) -> Iterator[tuple[str, float]]:
    for line in path.read_text().splitlines():
        phase, at = json.loads(line)
        yield phase, at


def _adopt() -> None:
    """Become the parent of what a command leaves, such as the server of its workers (Linux)."""
    ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER


def _reap() -> None:
    with suppress(ChildProcessError):
        while True:
            os.wait()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
