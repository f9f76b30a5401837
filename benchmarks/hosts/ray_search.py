"""The same search on Ray Tune with ReadoutScheduler, and with ASHA on validation accuracy.

    python -m benchmarks.hosts.ray_search --data DATA --truth TRUTH              # half an hour
    python -m benchmarks.hosts.ray_search --data DATA --truth TRUTH --cells 4 --steps 40

DATA is a folder of CIFAR-10 in parquet files, TRUTH a CSV with columns arch and test_accuracy. Random
cells of NAS-Bench-201 are trained briefly (reduced networks, 16×16 pixels), in one order for all
schedulers, and are read and validated (1,000 labelled images, eval mode) at even distances.

"told": with the validation accuracy as the experiment's metric; ReadoutScheduler has none otherwise.
steps: training steps as a share of the search in which no trial is stopped. seconds: of all trials,
including readings and validation passes. finished: trials that were not stopped and would continue to
full training. regret: published accuracy of the best cell of all less that of the best finished one,
in points. pick regret: the same for the finished cell that the search's own metric puts first. With
one seed and one order, a difference of a few cells between rows is chance.

Finally the search without stopping is run on 1 and on 2 workers. start-up: from the call of fit to
the first trial's start. span: from there to the last trial's end. speed-up: the ratio of spans.
"""

from __future__ import annotations

import tempfile
import time
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, TrialScheduler

from benchmarks.baselines.curves import accuracy
from benchmarks.common.images import labelled_images, open_test, published_cells, shuffled
from benchmarks.common.options import command
from prescreen import Training, load_task
from prescreen.integrations.ray import Halving, Median, ReadoutCallback, ReadoutScheduler, trainable
from prescreen.text import plain_table

ACCURACY = "validation_accuracy"
SCORE = "prescreen/score"
VALIDATION_IMAGES = 1000


def main() -> None:
    """Run all searches, one row each, and the comparison of workers."""
    numbers = {"cells": 40, "steps": 300, "readings": 12, "image_size": 16, "seed": 0}
    parser = command(__doc__, **numbers)
    for flag in ("--data", "--truth"):
        parser.add_argument(flag, type=Path, required=True)
    args = parser.parse_args()
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    cells = published_cells(args.truth, args.seed)[: args.cells]
    published = {row["arch"]: float(row["test_accuracy"]) for row in cells}
    what = make_trainable(args)
    print(f"{args.cells} cells, {args.steps} steps, seed {args.seed}, 2 workers", flush=True)
    rung = args.steps // args.readings
    unchecked = ReadoutScheduler(Halving(rung, 2), n_startup_trials=0, min_agreement=None)
    schedulers = {
        "none": (FIFOScheduler(), SCORE),
        "readouts": (ReadoutScheduler(), SCORE),
        "readouts, told validation accuracy": (ReadoutScheduler(), ACCURACY),
        "readouts, median": (ReadoutScheduler(Median()), SCORE),
        "readouts, halving": (ReadoutScheduler(Halving(rung, 2)), SCORE),
        "readouts, halving, unchecked": (unchecked, SCORE),
        "ASHA on prescreen/score": (asha(SCORE, rung, args.steps), SCORE),
        "ASHA on validation accuracy": (asha(ACCURACY, rung, args.steps), ACCURACY),
    }
    rows = []
    for name, (scheduler, metric) in schedulers.items():
        told = metric if isinstance(scheduler, ReadoutScheduler) and metric != SCORE else None
        results, *_ = search(what, list(published), scheduler, workers=2, metric=told)
        rows.append([name, *row(results, metric, published, args.steps)])
        print(name, "done", flush=True)
    header = ["stopped by", "steps %", "seconds", "finished", "regret", "pick regret"]
    print(plain_table(header, rows))
    compare_workers(what, list(published))
    ray.shutdown()


def make_trainable(args: Namespace) -> type[tune.Trainable]:
    """Brief training of a cell, read and validated on images that the probe batch does not hold."""
    task = load_task(args.data, image_size=args.image_size)
    training = Training(steps=args.steps, batch_size=64, lr=0.05, seed=args.seed)
    order = shuffled(open_test(args.data), args.seed)
    ((inputs, labels),) = labelled_images(args.data, task, VALIDATION_IMAGES, order=order)
    validate = partial(accuracy, inputs=inputs, labels=labels, batch_statistics=False)
    extra = {ACCURACY: validate}
    return trainable("nas_bench_201", task, training, readings=args.readings, extra=extra)


def asha(metric: str, grace_period: int, max_t: int) -> ASHAScheduler:
    """Ray's own successive halving, at the same rungs."""
    rungs = partial(ASHAScheduler, grace_period=grace_period, reduction_factor=2)
    # One step more: the last result ends a trial by itself.
    return rungs(time_attr="step", metric=metric, mode="max", max_t=max_t + 1)


class Clock(tune.Callback):
    """When the first trial started and the last one ended."""

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.ends: list[float] = []

    def on_trial_start(self, *args: Any, **info: Any) -> None:
        """Note the time."""
        self.starts.append(time.perf_counter())

    def on_trial_complete(self, *args: Any, **info: Any) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())


def search(
    what: type[tune.Trainable],
    cells: list[str],
    scheduler: TrialScheduler,
    workers: int,
    metric: str | None = None,
) -> tuple[tune.ResultGrid, float, float]:
    """One experiment: its results, seconds of start-up, and seconds from then on.

    Args:
        what: trains a cell.
        cells: to train, in order.
        scheduler: stops them.
        workers: how many cells are trained at once.
        metric: the objective, where the scheduler is not told one itself.
    """
    clock = Clock()
    callbacks = [ReadoutCallback(scheduler)] if isinstance(scheduler, ReadoutScheduler) else []
    tuner = tune.Tuner(
        what,
        param_space={"arch": tune.grid_search(cells)},
        tune_config=tune.TuneConfig(
            metric=metric,
            mode=None if metric is None else "max",
            scheduler=scheduler,
            max_concurrent_trials=workers,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            storage_path=tempfile.mkdtemp(), verbose=0, callbacks=[clock, *callbacks]
        ),
    )
    begun = time.perf_counter()
    results = tuner.fit()
    return results, clock.starts[0] - begun, clock.ends[-1] - clock.starts[0]


def row(
    results: tune.ResultGrid, metric: str, published: dict[str, float], steps: int
) -> list[str]:
    """Compute spent and what was found."""
    table = results.get_dataframe()
    truths = table["config/arch"].map(published)
    finished = table["step"] == steps
    # A failed candidate's NaN is not an accuracy, and it did not finish.
    for mark in {"prescreen/failure", "prescreen/stopped"} & set(table):
        finished &= table[mark].isna()
    best, pick = max(published.values()), table[metric][finished].idxmax()
    spent = 100 * table["step"].sum() / (steps * len(published))
    figures = [f"{spent:.0f}", f"{table['seconds'].sum():.0f}", str(finished.sum())]
    return [*figures, f"{best - truths[finished].max():.2f}", f"{best - truths[pick]:.2f}"]


def compare_workers(what: type[tune.Trainable], cells: list[str]) -> None:
    """The search without stopping, on 1 and on 2 workers."""
    rows, spans = [], []
    for workers in (1, 2):
        _, startup, span = search(what, cells, FIFOScheduler(), workers)
        spans.append(span)
        efficiency = spans[0] / span / workers
        rows.append([str(workers), f"{startup:.1f}", f"{span:.1f}", f"{100 * efficiency:.0f}"])
    print(plain_table(["workers", "start-up s", "span s", "% of ideal"], rows))


if __name__ == "__main__":
    main()
