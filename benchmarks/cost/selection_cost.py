"""What readings of a run cost compared with its training: ImageNet by arithmetic and by the clock.

    python -m benchmarks.cost.selection_cost        # a few minutes on two cores

An epoch is 1,281,167 images in batches of 256. One reading follows it: a probe batch of 512 unseen
images, and another view of them. By arithmetic a forward pass is one unit per image and a backward
pass two. By the clock, training steps and readings take turns, on smaller images and as many
classes. A step is compared with a reading as a ratio of medians.
"""

from __future__ import annotations

import itertools
import math
from argparse import Namespace

import timm
import torch
from torch.nn import functional

from benchmarks.common.options import command
from benchmarks.cost.readout_cost import Work, timed
from prescreen import Monitor
from prescreen.text import plain_table

IMAGES, CLASSES = 1_281_167, 1000


def main() -> None:
    """Print the share of an epoch that one reading takes."""
    numbers = {"image_size": 64, "batch": 256, "probe": 512, "rounds": 7}
    models = ["resnet18", "convnext_atto"]
    args = command(__doc__, models=models, **numbers, device="cpu").parse_args()
    steps = math.ceil(IMAGES / args.batch)
    print(
        f"torch {torch.__version__}, {args.device}, {torch.get_num_threads()} threads, seed 0; "
        f"{steps:,} steps of {args.batch} images, one reading of {args.probe} in two views\n"
        f"by arithmetic: {2 * args.probe / (3 * steps * args.batch):.3%} of an epoch"
    )
    rows = []
    for name in args.models:
        step, reading = step_and_reading(args, name)
        share = reading / (steps * step)
        rows.append([name, f"{step:.3f}", f"{reading:.3f}", f"{share:.3%}"])
    header = ["model", "s a step", "s a reading", "of an epoch"]
    print(f"\nby the clock, {args.image_size}x{args.image_size}, medians of {args.rounds}\n")
    print(plain_table(header, rows, (0,)))


def step_and_reading(args: Namespace, name: str) -> tuple[float, float]:
    """Median seconds of a training step and of a reading, which take turns."""
    torch.manual_seed(0)
    model = timm.create_model(name, num_classes=CLASSES).to(args.device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    size = args.image_size, args.image_size
    images = torch.randn(args.batch, 3, *size, device=args.device)
    labels = torch.randint(CLASSES, (args.batch,), device=args.device)
    monitor = Monitor(torch.randn(args.probe, 3, *size))

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    numbers = itertools.count()
    works: dict[str, Work] = {
        "step": step,
        "reading": lambda: monitor.read(model, next(numbers)),
    }
    timed(works, 1, args.device)  # warms up
    seconds = timed(works, args.rounds, args.device, limit=math.inf)
    return seconds["step"], seconds["reading"]


if __name__ == "__main__":
    main()
