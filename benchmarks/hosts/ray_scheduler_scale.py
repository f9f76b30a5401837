"""What a decision of ReadoutScheduler costs in searches of up to 100,000 trials.

    python -m benchmarks.hosts.ray_scheduler_scale                      # minutes
    python -m benchmarks.hosts.ray_scheduler_scale --trials 100 1000

Nothing is trained and no cluster is started. Results of recorded trajectories (those of
architectures/nas_bench_201.py, its panel) are handed to the scheduler as Tune would. Every trial is
one of the recorded cells, drawn with replacement. Noise of a tenth of each readout's deviation makes
all of them different. Trials run 16 at a time and are read in turn, as on 16 workers.

Times are CPU time (other processes do not count) of one result, over the last 10,000 of them: their
mean, their 99th percentile, and the largest. State is what the callback hands to Tune to be saved,
pickled. Grown: resident memory at the end of the search less that before it.
"""

from __future__ import annotations

import pickle
import time
from collections import deque
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.architectures.table import RESULTS
from benchmarks.common.options import command
from benchmarks.common.readouts import PANEL
from benchmarks.common.results import column, read
from prescreen.integrations.ray import Halving, Median, ReadoutScheduler
from prescreen.text import plain_table

CONCURRENT = 16
TIMED = 10_000

RULES = {
    "improvement": lambda: ReadoutScheduler(readouts=PANEL),
    "median": lambda: ReadoutScheduler(Median(), PANEL),
    "halving": lambda: ReadoutScheduler(Halving(120), PANEL),  # from the first recorded step on
    "median, max_false_prune=0.05": lambda: ReadoutScheduler(Median(), PANEL, max_false_prune=0.05),
}


def main() -> None:
    """One row per number of trials and rule."""
    parser = command(__doc__, trials=[100, 1000, 10_000, 100_000], seed=0)
    parser.add_argument("--rules", nargs="+", choices=RULES, default=list(RULES))
    args = parser.parse_args()
    steps, curves = recorded()
    print(f"seed {args.seed}, {len(curves)} recorded cells read at {len(steps)} steps", flush=True)
    rows = []
    for trials, name in product(args.trials, args.rules):
        figures = measure(RULES[name](), steps, curves, trials, args.seed)
        rows.append([f"{trials:,}", name, *figures])
        print("measured:", *rows[-1], flush=True)
    header = ["trials", "rule", "results", "stopped", "ms mean", "99 %", "largest"]
    print(plain_table([*header, "state MB", "grown MB"], rows))


def recorded() -> tuple[Any, Any]:
    """Steps (T,) and readings (cells, T, R) of the cells that were read at all steps."""
    rows = read(RESULTS / "report_readings.csv")
    steps, at = np.unique(column(rows, "step").astype(int), return_inverse=True)
    _, cell = np.unique([row["run"] for row in rows], return_inverse=True)
    curves = np.full((cell.max() + 1, len(steps), len(PANEL)), np.nan)
    curves[cell, at] = np.stack([column(rows, name) for name in PANEL], axis=1)
    return steps, curves


def measure(
    scheduler: ReadoutScheduler, steps: Any, curves: Any, trials: int, seed: int
) -> list[str]:
    """Run one search; the columns of its row."""
    before = resident()
    scheduler.set_search_properties("prescreen/score", "max")
    seconds: deque[float] = deque(maxlen=TIMED)
    count = 0
    for call in calls(scheduler, steps, curves, trials, seed):
        seconds.append(call)
        count += 1
    ms, state = 1e3 * np.array(seconds), len(pickle.dumps(scheduler.state_dict()))
    times = [f"{ms.mean():.3f}", f"{np.percentile(ms, 99):.2f}", f"{ms.max():.1f}"]
    sizes = [f"{state / 1e6:.1f}", f"{(resident() - before) / 1e6:.0f}"]
    return [f"{count:,}", f"{len(scheduler.stopped):,}", *times, *sizes]


def calls(
    scheduler: ReadoutScheduler, steps: Any, curves: Any, trials: int, seed: int
) -> Iterator[float]:
    """The seconds of every call, for the results of workers that take turns."""
    rng = np.random.default_rng(seed)
    noise = np.nanstd(np.where(np.isfinite(curves), curves, np.nan), axis=0) / 10
    running: deque[tuple[Any, Any, int]] = deque()
    begun = 0
    while running or begun < trials:
        while len(running) < CONCURRENT and begun < trials:
            curve = curves[rng.integers(len(curves))] + noise * rng.normal(size=noise.shape)
            running.append((SimpleNamespace(trial_id=f"{begun:08x}"), curve, 0))
            begun += 1
        trial, curve, index = running.popleft()
        values = zip(PANEL, curve[index].tolist(), strict=True)
        result: dict[str, Any] = {f"prescreen/{name}": value for name, value in values}
        result |= {"step": int(steps[index]), "prescreen/score": float(curve[index, 0])}
        last = index == len(steps) - 1
        start = time.thread_time()
        # Tune asks at every result but the last, and reports the end of a trial that it stops.
        if last or scheduler.on_trial_result(None, trial, result) == "STOP":
            scheduler.on_trial_complete(None, trial, result)
        else:
            running.append((trial, curve, index + 1))
        yield time.thread_time() - start


def resident() -> int:
    """Resident memory of this process in bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


if __name__ == "__main__":
    main()
