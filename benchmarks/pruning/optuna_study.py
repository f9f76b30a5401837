"""The same study pruned by readouts and by Optuna's MedianPruner on validation accuracy.

    nice python -m benchmarks.pruning.optuna_study --data DATA      # minutes to record, then one

Random cells of NAS-Bench-201 are trained briefly (reduced networks, CIFAR-10), each once, and read
and validated on the way. The untrained network is the space's wider one. --out keeps these recordings,
and the command resumes. The recordings are then replayed through real studies. The same grid sampler
with the same seed gives all rows the same order of cells, one order per shuffle. A trial that is not
pruned returns its published accuracy, as if it had continued to full training.

steps and CPU: brief training, readings and validation passes, as a share of the unpruned study's
training alone. survivors: trials that would continue to full training. regret: published accuracy of
the best cell of all less that of the best survivor, in points, mean over shuffles with its standard
error. best lost: shuffles in which the best cell was pruned. CPU seconds are of one thread; other work
on the machine changes them little. DATA holds cifar10/ and nas_bench_201/.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from argparse import Namespace
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

import optuna
import torch
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner

from benchmarks.baselines.curves import accuracy
from benchmarks.common.images import Labelled, labelled_images, open_test, published_cells
from benchmarks.common.journalled import Work, journalled
from benchmarks.common.options import command
from benchmarks.common.readouts import HEAD_PANEL
from prescreen import DEFAULT_PANEL, Probe, Reading, Training, load_task
from prescreen.integrations.optuna import Halving, Median, ReadoutPruner, Recorder
from prescreen.readouts import get_readout
from prescreen.spaces.space import resolve_space
from prescreen.tasks import ImageTask
from prescreen.text import plain_table
from prescreen.training import brief_training

UNTRAINED = "seconds.untrained"
EVAL, BATCH = "validation_accuracy", "validation_accuracy_batch_statistics"
VALIDATION, VALIDATION_BATCH = 1000, 250

halving = partial(SuccessiveHalvingPruner, min_resource=25, reduction_factor=2)
median = partial(ReadoutPruner, Median())
unchecked = partial(median, min_agreement=None)
of_heads = partial(median, readouts=HEAD_PANEL)

# What a row looks at -> the panel that is read.
PANELS = {"readouts": DEFAULT_PANEL, "head": HEAD_PANEL}


@dataclass(frozen=True)
class Cell:
    """A cell to record."""

    name: str
    accuracy: float  # published, in percent
    readings: Sequence[Reading] = ()  # once it is recorded


@dataclass(frozen=True)
class Arm:
    """A way to prune: by a panel of readings, by a reported accuracy, or not at all."""

    pruner: Callable[[], BasePruner]
    looks_at: str | None = "readouts"

    def should_prune(self, trial: optuna.Trial, recorder: Recorder, reading: Reading) -> bool:
        """Give the trial what it would have seen at this step, and ask."""
        if self.looks_at in PANELS:
            values = {name: reading.values[name] for name in PANELS[self.looks_at]}
            recorder.record(reading.step, values, reading.architecture)
            return recorder.should_prune()
        if self.looks_at is not None:
            trial.report(reading.values[self.looks_at], reading.step)
        return self.looks_at is not None and trial.should_prune()

    def seconds(self, reading: Reading) -> float:
        """CPU seconds that looking at this point costs."""
        return reading.values[f"seconds.{self.looks_at}"] if self.looks_at else 0.0


ARMS = {
    "unpruned": Arm(NopPruner, None),
    "readouts": Arm(ReadoutPruner),
    "readouts, max_false_prune=0.1": Arm(partial(ReadoutPruner, max_false_prune=0.1)),
    "readouts, max_false_prune=0.5": Arm(partial(ReadoutPruner, max_false_prune=0.5)),
    "readouts, max_regret=0.2": Arm(partial(ReadoutPruner, max_regret=0.2)),
    "readouts, median": Arm(median),
    "readouts, median, max_false_prune=0.1": Arm(partial(median, max_false_prune=0.1)),
    "readouts, median, min_agreement=0.7": Arm(partial(median, min_agreement=0.7)),
    "readouts, median, min_agreement=None": Arm(unchecked),
    "the same, warm-up of 150": Arm(partial(unchecked, n_warmup_steps=150)),
    "readouts, halving": Arm(partial(ReadoutPruner, Halving(25, 2))),
    "head alone": Arm(partial(ReadoutPruner, readouts=HEAD_PANEL), "head"),
    "head alone, median": Arm(of_heads, "head"),
    "head alone, min_agreement=None": Arm(partial(of_heads, min_agreement=None), "head"),
    "validation accuracy, median": Arm(MedianPruner, EVAL),
    "batch statistics, median": Arm(MedianPruner, BATCH),
    "batch statistics, warm-up of 150": Arm(partial(MedianPruner, n_warmup_steps=150), BATCH),
    "batch statistics, successive halving": Arm(halving, BATCH),
}


def main() -> None:
    """Record what is missing, replay, print one table."""
    places = {"data": Path("../shared/data"), "out": Path("prescreen-runs/optuna_study")}
    options = {"steps": 200, "interval": 25, "batch_size": 64, "lr": 0.05, "seed": 0, "workers": 2}
    args = command(__doc__, **places, cells=60, shuffles=30, **options).parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    cells = record(args)
    print(f"{args.steps} steps, {len(cells)} cells, {args.shuffles} shuffles (seeds 0 and up)")
    header = ["", "steps %", "CPU %", "survivors", "regret", "best lost"]
    rows = [row(name, arm, cells, args.shuffles) for name, arm in ARMS.items()]
    print(plain_table(header, rows))


def record(args: Namespace) -> list[Cell]:
    """Cells with their recordings; those missing from the journal are measured."""
    published = published_cells(args.data / "nas_bench_201" / "cifar10.csv", args.seed)
    cells = [Cell(row["arch"], float(row["test_accuracy"])) for row in published[: args.cells]]
    training = Training(steps=args.steps, batch_size=args.batch_size, lr=args.lr, seed=args.seed)
    settings = {
        **training.to_json(),
        "interval": args.interval,
        "readouts": [*DEFAULT_PANEL, *HEAD_PANEL],
    }
    measure = partial(record_cell, training=training, interval=args.interval)
    work = Work(measure, load, (args.data / "cifar10", args.seed), args.workers)
    records = journalled(args.out, settings, cells, work)
    if failed := [name for name, one in records.items() if one.status != "finished"]:
        raise SystemExit(f"{failed[0]} could not be recorded: {records[failed[0]].reason}")
    known = [[*records[cell.name].trajectory] for cell in cells]
    return [
        replace(cell, readings=[before_training(readings[0]), *readings])
        for cell, readings in zip(cells, known, strict=True)
    ]


def before_training(first: Reading) -> Reading:
    """What was known at step 0, and its cost, from the first reading."""
    of = {name: get_readout(name).of_network for name in DEFAULT_PANEL}
    values = {name: first.values[name] if known else math.nan for name, known in of.items()}
    cost = {"seconds.readouts": first.values[UNTRAINED]}
    return Reading(0, {**values, **cost}, 0.0, architecture=first.architecture)


def load(data: Path, seed: int) -> tuple[ImageTask, Labelled]:
    """The task, and labelled images that neither training nor the probe batch uses."""
    task = load_task(data)
    order = list(range(len(open_test(data))))  # type: ignore[arg-type]  # it has a length
    random.Random(seed).shuffle(order)
    (validation,) = labelled_images(data, task, VALIDATION, order=torch.tensor(order))
    return task, validation


def record_cell(
    given: tuple[ImageTask, Labelled], cell: Cell, training: Training, interval: int
) -> list[Reading]:
    """Train a cell; readouts, accuracies and the cost of each. Seconds are those of training."""
    task, (inputs, labels) = given
    validate = partial(accuracy, inputs=inputs, labels=labels, batch_size=VALIDATION_BATCH)
    space, sizes = resolve_space("nas_bench_201"), {"num_classes": task.num_classes}
    probes = {name: Probe(task.probe, panel, on_diverged="nan") for name, panel in PANELS.items()}
    torch.manual_seed(training.seed)
    begun = time.process_time()
    assert space.build_untrained is not None
    probes["readouts"].read_untrained(space.build_untrained({"arch": cell.name}, **sizes))
    untrained = time.process_time() - begun
    torch.manual_seed(training.seed)
    model = space.build({"arch": cell.name}, **sizes)
    readings, spent, architecture, start = [], 0.0, "", time.process_time()
    for step in brief_training(model, task, training):
        if step.number % interval:
            continue
        values = {UNTRAINED: untrained}
        moments = [time.process_time()]
        spent += moments[0] - start
        for probe in probes.values():
            reading = probe.read(model, step.number)
            values |= reading.values
            architecture = reading.architecture or architecture
            moments.append(time.process_time())
        for name, batch_statistics in ((EVAL, False), (BATCH, True)):
            values[name] = validate(model, batch_statistics=batch_statistics)
            moments.append(time.process_time())
        for name, (begin, end) in zip((*probes, EVAL, BATCH), pairwise(moments), strict=True):
            values[f"seconds.{name}"] = end - begin
        readings.append(Reading(step.number, values, spent, architecture=architecture))
        start = time.process_time()
    return readings


def row(name: str, arm: Arm, cells: list[Cell], shuffles: int) -> list[str]:
    """Means over shuffles."""
    results = [replay(arm, cells, seed) for seed in range(shuffles)]
    steps, seconds, survivors, regrets = zip(*results, strict=True)
    all_steps = sum(cell.readings[-1].step for cell in cells)
    all_seconds = sum(cell.readings[-1].seconds for cell in cells)
    error = statistics.stdev(regrets) / len(regrets) ** 0.5
    shares = statistics.mean(steps) / all_steps, statistics.mean(seconds) / all_seconds
    regret = f"{statistics.mean(regrets):.2f} ± {error:.2f}"
    lost = f"{sum(regret > 0 for regret in regrets)}/{shuffles}"
    percent = [f"{100 * share:.0f}" for share in shares]
    return [name, *percent, f"{statistics.mean(survivors):.1f}", regret, lost]


def replay(arm: Arm, cells: list[Cell], seed: int) -> tuple[int, float, int, float]:
    """Steps, CPU seconds, survivors and regret of one study."""
    sampler = optuna.samplers.GridSampler({"cell": list(range(len(cells)))}, seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=arm.pruner())
    steps, seconds, survived = 0, 0.0, []

    def objective(trial: optuna.Trial) -> float:
        nonlocal steps, seconds
        cell = cells[trial.suggest_int("cell", 0, len(cells) - 1)]
        recorder = Recorder(trial)
        # Only rules that learn what it is worth look at what is known before training; all pay for it.
        before, *readings = cell.readings
        if arm.looks_at == "readouts":
            seconds += arm.seconds(before)
            readings = [before, *readings] if recorder.begins_untrained else readings
        for reading in readings:
            seconds += arm.seconds(reading) if reading.step else 0.0
            if pruned := arm.should_prune(trial, recorder, reading):
                break
        steps += reading.step
        seconds += reading.seconds
        if pruned:
            raise optuna.TrialPruned
        survived.append(cell.accuracy)
        return cell.accuracy

    study.optimize(objective)  # the sampler ends it after the last cell
    assert len(study.trials) == len(cells)
    best = max(cell.accuracy for cell in cells)
    return steps, seconds, len(survived), best - max(survived)


if __name__ == "__main__":
    main()
