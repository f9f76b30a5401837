"""What reading costs beside training: the parts of screening, on the default panel and cadence.

    python -m benchmarks.cost.reading_cost               # the table of docs/speed.md, 20 minutes
    python -m benchmarks.cost.reading_cost --sizes 8 --rounds 5

Training is steps of 128 images, a reading the default panel on 256, of which there are four; measures of
the untrained network and replicates are taken once. "Forward" are the two forward passes of a reading
as a loop without prescreen would make them, "around" is all that a reading takes beside them and its
readouts. "Arithmetic" is the share if there were nothing but the eight forward passes. "Shared" is a
panel of the head alone, read from the training batch's own forward pass.

All are measured in turn, round after round, in CPU seconds of one thread; medians. Digits are enlarged
to the sizes; numbers in --spaces choose candidates.
"""

from __future__ import annotations

import statistics
import time
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import torch

from benchmarks.common.options import command
from prescreen import Training, TrainingProbe, load_task
from prescreen.heads.preserve import preserve
from prescreen.readouts.parts import replicates
from prescreen.screening.plan import Plan, build
from prescreen.screening.probing import probe_of
from prescreen.spaces.candidate import Candidate
from prescreen.spaces.chosen import as_candidates
from prescreen.tasks.base import Task
from prescreen.text import plain_table
from prescreen.training.loop import BriefTraining

SPACES = "nas_bench_201:1,nas_bench_201:5,nas_bench_101:1,timm_models:1,vit:0"
READINGS = 4
# A panel of the head alone, which training's own forward pass has.
SHARED = ["confidence", "mutual_information", "separation"]
Work = Callable[[], Any]


def main() -> None:
    """Print one table for each size of images."""
    defaults: dict[str, Any] = {"sizes": "8,32", "rounds": 7, "spaces": SPACES}
    args = command(__doc__, **defaults).parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, 1 thread, seed 0, shares of screening in percent")
    for size in args.sizes.split(","):
        measure(args, int(size))


def measure(args: Namespace, size: int) -> None:
    """One table: a row for each candidate."""
    task = load_task("digits", image_size=size)
    rows = []
    for chosen in args.spaces.split(","):
        space, _, number = chosen.partition(":")
        candidate = as_candidates(space, int(number) + 1, seed=0)[int(number)]
        rows.append([candidate.name[:24], *row_of(timed(works(candidate, task), args.rounds))])
    header = ["", "step ms", "forward ms", "reading ms", "forward", "around", "readouts"]
    header += ["untrained", "replicates", "all", "arithmetic", "at 400", "at 600", "shared"]
    print(f"\n{size} x {size} pixels")
    print(plain_table(header, rows), flush=True)


def works(candidate: Candidate, task: Task) -> dict[str, Work]:
    """The parts of screening by name."""
    plan = Plan(task, Training(), None, READINGS, None, {})
    model = build(candidate, plan)
    untrained = build(candidate, plan, untrained=True) if candidate.build_untrained else model
    steps, probe, numbers = BriefTraining(model, task, Training()), probe_of(plan), count(1)
    next(steps)
    view = task.views(task.probe)
    inputs = [task.probe, getattr(view, "inputs", view)]
    taken: dict[str, Any] = {}
    probe.read_untrained(untrained)
    probe.read(model, 0, lambda subjects: taken.update(subjects[""]))
    of_head = [one for one in probe.readouts.values() if not one.of_network]

    def forward() -> float:
        with preserve(model):
            start = time.process_time()
            for one in inputs:
                model(one)
            return time.process_time() - start

    def readouts() -> None:
        for part in taken["head"], taken["view"]:  # nothing is kept of what was computed before
            for key in vars(part).keys() - {*part.__dataclass_fields__}:
                del vars(part)[key]
        for one in of_head:
            one(*(taken[need] for need in one.needs))

    steps_of_training = iter(lambda: BriefTraining(model, task, Training()), None)

    def train() -> None:
        nonlocal steps
        for _ in range(3):
            if next(steps, None) is None:
                steps = next(steps_of_training)

    own, few = TrainingProbe(SHARED), task.probe[:2].requires_grad_()

    def watching() -> float:
        """Seconds before and after the block."""
        spent = -time.process_time()
        with own.watching(model, 1):
            spent += time.process_time()
            model(task.probe[:128])
            spent -= time.process_time()
        return spent + time.process_time()

    def hooks(due: bool) -> float:
        """Seconds of a small forward pass, of which hooks are a large part."""
        with own.watching(model, 1, due=due):
            start = time.process_time()
            for _ in range(3):
                model(few)
            return (time.process_time() - start) / 3

    subjects = {need: taken[need] for need in ("head", "view")}
    return {
        "train": train,
        "reading": lambda: probe.read(model, next(numbers)),
        "forward": forward,
        "readouts": readouts,
        "untrained": partial(probe.read_untrained, untrained),
        "watching": watching,
        "watched": partial(hooks, True),
        "unwatched": partial(hooks, False),
        "replicates": partial(replicates, plan.table, subjects, len(task.probe)),
    }


def timed(works: dict[str, Work], rounds: int) -> dict[str, float]:
    """Median milliseconds of each, all in turn, round after round."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.process_time()
            own = work()
            spent = time.process_time() - start
            seconds[name].append(own if isinstance(own, float) else spent)
    return {name: 1000 * statistics.median(values) for name, values in seconds.items()}


def row_of(ms: dict[str, float]) -> list[str]:
    """The shares of one candidate."""
    step = ms["train"] / 3
    parts = {
        "forward": READINGS * ms["forward"],
        "around": READINGS * (ms["reading"] - ms["forward"] - ms["readouts"]),
        "readouts": READINGS * ms["readouts"],
        "untrained": ms["untrained"],
        "replicates": ms["replicates"],
    }
    reading = sum(parts.values())
    whole = 100 * step + reading
    shares = [100 * part / whole for part in parts.values()]
    arithmetic = 100 * parts["forward"] / (100 * step + parts["forward"])
    longer = [100 * reading / (steps * step + reading) for steps in (400, 600)]
    shared = READINGS * (ms["watching"] + ms["watched"] - ms["unwatched"])
    figures = [*shares, 100 * reading / whole, arithmetic, *longer]
    figures.append(100 * shared / (100 * step + shared))
    times = [f"{value:.1f}" for value in (step, ms["forward"], ms["reading"])]
    return [*times, *(f"{value:.2f}" for value in figures)]


if __name__ == "__main__":
    main()
