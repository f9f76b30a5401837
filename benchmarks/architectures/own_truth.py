"""Does the readout find the better network where families differ? CIFAR-10, against our training.

    python -m benchmarks.architectures.own_truth train timm --data DATA    # about half an hour
    python -m benchmarks.architectures.own_truth train vit  --data DATA
    python -m benchmarks.architectures.own_truth table timm

DATA is a folder of CIFAR-10 in parquet files. `timm` is a list of small convolutional networks,
hybrids and Transformers at 32×32, chosen for their speed; `vit` a seeded sample of
search_spaces/vit.py at 28×28. The truth is the accuracy on 5,000 labelled test images after one
training with one seed (steps in `SPACES`). It is short, far from convergence, and noisy between near
equals. The brief run has a tenth of the steps, the same recipe and another seed. Its probe, the
validation images of the baselines and the test images are disjoint. `train` resumes. With --limit
(number of candidates) or --steps (of the truth) it is a trial, whose results go to --out.
"""

from __future__ import annotations

from argparse import Namespace
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.architectures.measure import last_values, progress, score_untrained, train_briefly
from benchmarks.architectures.table import GRID, RESULTS, normalization_table, score_table
from benchmarks.baselines.curves import accuracy
from benchmarks.common.images import cpu_seconds, labelled_images, timed
from benchmarks.common.options import command, folder_of, need
from benchmarks.common.readouts import MEASURED
from benchmarks.common.results import Row, column, read, write
from prescreen import Candidate, Processes, Training, load_task, rank
from prescreen.spaces.chosen import as_candidates

TIMM = (
    # convolutional: plain and residual, depthwise, modern
    *("test_resnet", "test_byobnet", "test_nfnet", "resnet10t", "regnetx_002"),
    *("ese_vovnet19b_slim_dw", "test_efficientnet", "mobilenetv2_050", "mobilenetv3_small_050"),
    *("lcnet_050", "test_convnext", "test_mambaout", "starnet_s050", "fasternet_t0"),
    # hybrids and Transformers
    *("edgenext_xx_small", "mobilevit_xxs", "mobilevitv2_050", "efficientvit_b0", "pvt_v2_b0"),
    *("test_coatnet", "test_maxvit", "levit_128s", "pit_ti_224", "test_vit"),
)


@dataclass(frozen=True)
class Space:
    """What is trained: candidates, the images' side in pixels, and steps of the truth."""

    module: str
    image_size: int
    steps: int

    def candidates(self) -> list[Candidate]:
        """The same ones every time."""
        if self.module == "vit":
            return as_candidates("vit", 24, 0)
        known = {c.name: c for c in as_candidates(self.module)}
        return [known[name] for name in TIMM]


SPACES = {"timm": Space("timm_models", 32, 1500), "vit": Space("vit", 28, 1000)}

RECIPE = Training(batch_size=64, optimizer="adamw", lr=1e-3, weight_decay=0.05)
BRIEF_SHARE = 10
BRIEF_SEED, TRUTH_SEED = 0, 1
READINGS = 4
PROBE, VALIDATION, TEST = 512, 1000, 5000


def main() -> None:
    """Run the sub-command."""
    options = {"data": Path, "limit": int, "steps": int, "workers": 2}
    out = Path("prescreen-runs/own_truth")
    parser = command(__doc__, do=("train", "table"), space=tuple(SPACES), **options, out=out)
    args = parser.parse_args()
    if args.do == "table":
        print_tables(args.space, read(RESULTS / f"{args.space}.csv"))
        return
    need(args, "data")
    folder = folder_of(RESULTS, args, trial=(args.limit, args.steps) != (None, None))
    write(folder / f"{args.space}.csv", train(args))


def train(args: Namespace) -> list[Row]:
    """One row per candidate: measured without training, after brief and after full training."""
    space = SPACES[args.space]
    steps = args.steps or space.steps
    task = load_task(args.data, probe_size=PROBE, image_size=space.image_size)
    validation, (images, labels) = labelled_images(args.data, task, VALIDATION, TEST)
    candidates = [
        replace(c, build=partial(timed, c.build)) for c in space.candidates()[: args.limit]
    ]
    out = args.out / args.space
    untrained = score_untrained(task, candidates, args.workers, out / "untrained")
    brief = train_briefly(
        task,
        candidates,
        replace(RECIPE, steps=max(1, steps // BRIEF_SHARE), seed=BRIEF_SEED),
        [*MEASURED, *GRID],
        validation,
        seen=next(task.batches(VALIDATION, 2)),
        readings=READINGS,
        on=Processes(args.workers),
        out=out / "brief",
    )
    tested = partial(accuracy, inputs=images, labels=labels, batch_statistics=False)
    full = rank(
        candidates,
        task,
        training=replace(RECIPE, steps=steps, seed=TRUTH_SEED),
        readouts=["confidence"],
        readings=1,
        extra={"test_accuracy": tested, "cpu_seconds": cpu_seconds},
        on=Processes(args.workers),
        out=out / "truth",
        progress=progress,
    )
    truths, read_at = ({row.name: row.trajectory for row in ranking} for ranking in (full, brief))
    rows = []
    for candidate in candidates:
        name = candidate.name
        row: Row = {"run": name}
        for last in truths[name]:
            row["test_accuracy"] = 100 * last.values["test_accuracy"]
            row |= {"full.cpu_seconds": last.values["cpu_seconds"], "full.steps": last.step}
        for last in read_at[name]:
            row["brief.steps"] = last.step
        rows.append(row | untrained[name] | last_values(read_at[name]))
    return rows


def print_tables(space: str, rows: list[Row]) -> None:
    """One line per score, best first; for timm networks also the effect of normalization."""
    table, silent = score_table(rows, undefined=True)
    known = int((~np.isnan(column(rows, "test_accuracy"))).sum())
    full, brief = (np.nanmax(column(rows, f"{run}.steps")) for run in ("full", "brief"))
    steps = f"truth after {full:.0f} steps, brief {brief:.0f}"
    print(f"{known} candidates of {space!r}, {steps}; 95 % bootstrap, seed 0")
    print(table)
    if silent:
        print(f"not defined for these candidates: {', '.join(silent)}")
    if space == "timm":
        print("\nρ by normalization")
        print(normalization_table(rows))


if __name__ == "__main__":
    main()
