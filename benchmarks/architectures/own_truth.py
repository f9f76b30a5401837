"""Does the readout find the better network where families differ? CIFAR-10, against our training.

    python benchmarks/own_truth.py train timm --data DATA    # about half an hour; resumable
    python benchmarks/own_truth.py train vit  --data DATA
    python benchmarks/own_truth.py table timm                # from results/

DATA is a folder of CIFAR-10 in parquet files. `timm` is a list of small convolutional networks,
hybrids and Transformers at 32×32, chosen for their speed; `vit` a seeded sample of
search_spaces/vit.py at 28×28. The truth is the accuracy on 5,000 labelled test images after one
training of so many steps (`SPACES`) with one seed: a short one, far from convergence, and noisy
between near equals. The brief run has a tenth of the steps, the same recipe and another seed. Its
probe, the validation images of the baselines and the test images have no image in common.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from baselines import accuracy
from labelled import cpu_seconds, labelled, open_test, shuffled, timed
from own_truth_table import FOLDER, GRID, print_table, write_results
from torch import Tensor
from untrained_scores import score_untrained

from prescreen import READOUTS, UNTRAINED, Candidate, Task, Training, Trajectory, load_task, rank
from prescreen.spaces.candidate import as_candidates
from prescreen.tasks.images.probe_batch import choose_probe

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
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("do", choices=["train", "table"])
    parser.add_argument("space", choices=list(SPACES))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--limit", type=int, help="only the first so many; a trial")
    parser.add_argument("--steps", type=int, help="of the truth, instead of its own; a trial")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("prescreen-runs/own_truth"))
    args = parser.parse_args()
    if args.do == "table":
        print_table(args.space)
        return
    if args.data is None:
        parser.error("train needs --data")
    trial = args.limit is not None or args.steps is not None
    # The results of a trial never replace the real ones.
    path = (args.out if trial else FOLDER) / f"{args.space}.csv"
    write_results(path, args.space, *train(args))
    print(f"written: {path}")


def train(
    args: argparse.Namespace,
) -> tuple[list[str], dict[str, Trajectory], dict[str, Trajectory], dict[str, Trajectory]]:
    """Names; and what was measured without training, after brief and after full training."""
    space = SPACES[args.space]
    steps = args.steps or space.steps
    task = load_task(args.data, probe_size=PROBE, image_size=space.image_size)
    validation, test = labelled_images(args.data, task)
    candidates = [
        replace(c, build=partial(timed, c.build)) for c in space.candidates()[: args.limit]
    ]
    out = args.out / args.space
    untrained = score_untrained(task, candidates, args.workers, out / "untrained")
    common = {"workers": args.workers, "progress": _progress}
    seen = next(task.batches(VALIDATION, 2))
    brief = rank(
        candidates,
        task,
        training=replace(RECIPE, steps=max(1, steps // BRIEF_SHARE), seed=BRIEF_SEED),
        readouts=[*READOUTS, *UNTRAINED, *GRID],
        readings=READINGS,
        extra={
            # Taken first, so that it does not contain what only the baselines need.
            "cpu_seconds": cpu_seconds,
            "training_accuracy": _accuracy(seen, True),
            "validation_accuracy": _accuracy(validation, False),
            "validation_accuracy_batch": _accuracy(validation, True),
        },
        out=out / "brief",
        **common,
    )
    full = rank(
        candidates,
        task,
        training=replace(RECIPE, steps=steps, seed=TRUTH_SEED),
        readouts=["confidence"],
        readings=1,
        extra={"test_accuracy": _accuracy(test, False), "cpu_seconds": cpu_seconds},
        out=out / "truth",
        **common,
    )
    names = [c.name for c in candidates]
    return names, untrained, *({row.name: row.trajectory for row in r} for r in (brief, full))


def labelled_images(
    data: Path, task: Task, validation: int = VALIDATION, test: int = TEST
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Validation and test images with labels, prepared as the probe batch is, and not in it."""
    images = open_test(data)
    # As `load_task` draws it, from its default seed.
    _, probe, _ = choose_probe(images, images, len(task.probe), torch.Generator().manual_seed(0))
    order = shuffled(images)
    rest = order[~torch.isin(order, probe)]
    if len(rest) < validation + test:
        raise SystemExit(f"data: {validation + test} test images are needed, got {len(rest)}")
    inputs, labels = labelled(task, images, rest[: validation + test])
    return (
        (inputs[:validation], labels[:validation]),
        (inputs[validation:], labels[validation:]),
    )


def _accuracy(images: tuple[Tensor, Tensor], batch_statistics: bool) -> Any:
    return partial(accuracy, inputs=images[0], labels=images[1], batch_statistics=batch_statistics)


def _progress(p: Any) -> None:
    print(f"{p.share:6.1%}  {p.finished} of {p.candidates}", flush=True)


if __name__ == "__main__":
    main()
