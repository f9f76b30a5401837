"""The same study pruned by readouts and by Optuna's MedianPruner on validation accuracy.

    nice python benchmarks/optuna_study.py --data DATA      # minutes to record, then a minute

Random cells of NAS-Bench-201 are trained briefly (reduced networks, CIFAR-10), each once, and read
and validated on the way (optuna_recordings.py). The recordings are then replayed through real
studies: the same grid sampler with the same seed gives all rows the same order of cells, in as many
orders as there are shuffles. A trial that is not pruned returns its published accuracy, as if it had
gone on to full training.

steps and CPU: brief training, readings and validation passes, as a share of the unpruned study's
training alone. survivors: trials that would go on to full training. regret: published accuracy of
the best cell of all less that of the best survivor, in points, mean over shuffles with its standard
error. best lost: shuffles in which the best cell was pruned. DATA holds cifar10/ and nas_bench_201/.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner
from optuna_recordings import Settings, chosen_cells, record

from prescreen.integrations.optuna import ReadoutPruner, Recorder
from prescreen.ranking.report import plain_table

Cell = dict[str, Any]
Point = dict[str, Any]

EVAL = "validation_accuracy"
BATCH = "validation_accuracy_batch_statistics"
SECONDS = {EVAL: "validation_seconds", BATCH: "validation_seconds_batch_statistics"}


@dataclass(frozen=True)
class Arm:
    """A way to prune: by readings, or by a reported accuracy."""

    pruner: Callable[[], BasePruner]
    reported: str | None = None
    looks: bool = True

    def should_prune(self, trial: optuna.Trial, recorder: Recorder, point: Point) -> bool:
        """Give the trial what it would have seen at this step, and ask."""
        if not self.looks:
            return False
        if self.reported is not None:
            trial.report(point[self.reported], point["step"])
            return trial.should_prune()
        recorder.record(point["step"], point["values"])
        return recorder.should_prune()

    def seconds(self, point: Point) -> float:
        """CPU seconds that looking at this point costs."""
        if not self.looks:
            return 0.0
        return float(point[SECONDS[self.reported] if self.reported else "reading_seconds"])


ARMS = {
    "unpruned": Arm(NopPruner, looks=False),
    "readouts, median": Arm(lambda: ReadoutPruner(MedianPruner())),
    "readouts, median, max_false_prune=0.1": Arm(
        lambda: ReadoutPruner(MedianPruner(), max_false_prune=0.1)
    ),
    "readouts, median, no validity gate": Arm(
        lambda: ReadoutPruner(MedianPruner(), min_agreement=None)
    ),
    "readouts, median, no gate, warm-up of 150": Arm(
        lambda: ReadoutPruner(MedianPruner(), min_agreement=None, n_warmup_steps=150)
    ),
    "readouts, successive halving": Arm(
        lambda: ReadoutPruner(SuccessiveHalvingPruner(min_resource=25, reduction_factor=2))
    ),
    "validation accuracy, median": Arm(MedianPruner, EVAL),
    "batch statistics, median": Arm(MedianPruner, BATCH),
    "batch statistics, warm-up of 150": Arm(lambda: MedianPruner(n_warmup_steps=150), BATCH),
    "batch statistics, successive halving": Arm(
        lambda: SuccessiveHalvingPruner(min_resource=25, reduction_factor=2), BATCH
    ),
}


def main() -> None:
    """Record what is missing, replay, print one table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--out", type=Path, default=Path("prescreen-runs/optuna_study.jsonl"))
    parser.add_argument("--cells", type=int, default=60)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--interval", type=int, default=25, help="steps between readings [25]")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shuffles", type=int, default=30)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    settings = Settings(args.steps, args.interval, args.batch_size, args.lr, args.seed)
    chosen = chosen_cells(args.data, args.cells, args.seed)
    cells = record(settings, chosen, args.data, args.out, args.workers)
    print(f"{settings}, {len(cells)} cells, {args.shuffles} shuffles (seeds 0 and up)")
    header = ["", "steps %", "CPU %", "survivors", "regret", "best lost"]
    rows = [row(name, arm, cells, args.shuffles) for name, arm in ARMS.items()]
    print(plain_table(header, rows))


def row(name: str, arm: Arm, cells: list[Cell], shuffles: int) -> list[str]:
    """Means over shuffles."""
    results = [replay(arm, cells, seed) for seed in range(shuffles)]
    steps, seconds, survivors, regrets = zip(*results, strict=True)
    all_steps = sum(cell["points"][-1]["step"] for cell in cells)
    all_seconds = sum(cell["points"][-1]["training_seconds"] for cell in cells)
    error = statistics.stdev(regrets) / len(regrets) ** 0.5
    return [
        name,
        f"{100 * statistics.mean(steps) / all_steps:.0f}",
        f"{100 * statistics.mean(seconds) / all_seconds:.0f}",
        f"{statistics.mean(survivors):.1f}",
        f"{statistics.mean(regrets):.2f} ± {error:.2f}",
        f"{sum(regret > 0 for regret in regrets)}/{shuffles}",
    ]


def replay(arm: Arm, cells: list[Cell], seed: int) -> tuple[int, float, int, float]:
    """Steps, CPU seconds, survivors and regret of one study."""
    sampler = optuna.samplers.GridSampler({"cell": list(range(len(cells)))}, seed=seed)
    study = optuna.create_study(direction="maximize", sampler=sampler, pruner=arm.pruner())
    steps, seconds, survived = 0, 0.0, []

    def objective(trial: optuna.Trial) -> float:
        nonlocal steps, seconds
        cell = cells[trial.suggest_int("cell", 0, len(cells) - 1)]
        recorder = Recorder(trial)
        spent = 0.0
        for point in cell["points"]:
            spent += arm.seconds(point)
            if pruned := arm.should_prune(trial, recorder, point):
                break
        steps += point["step"]
        seconds += spent + point["training_seconds"]
        if pruned:
            raise optuna.TrialPruned
        survived.append(cell["accuracy"])
        return float(cell["accuracy"])

    study.optimize(objective)  # the sampler ends it after the last cell
    assert len(study.trials) == len(cells)
    best = max(cell["accuracy"] for cell in cells)
    return steps, seconds, len(survived), best - max(survived)


if __name__ == "__main__":
    main()
