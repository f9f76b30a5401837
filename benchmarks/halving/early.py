"""Record the reading at an eighth of the budget where a space was recorded at quarters only.

    python -m benchmarks.halving.early nas_bench_201 --data DATA --truths TRUTHS --recordings RECORDINGS

Only candidates that are recorded already are trained, with the full budget's schedule, and only as far
as that reading. OUT/SPACE/NUMBER.npz holds what `architectures.record` would. What is there is not
measured again. `benchmarks.halving.run --early OUT` reads it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.architectures.record import LIGHT, RECORDED, VIEWS
from benchmarks.architectures.spaces import SPACES
from benchmarks.common.options import command, need
from prescreen import Candidate, capture, load_task
from prescreen.tasks import ImageTask
from prescreen.training.loop import BriefTraining
from prescreen.training.recipe import Training

SHARE = 1 / 8


def main() -> None:
    """Record one space, those for tuning or, with --report, those that are reported on."""
    options = {"data": Path, "truths": Path, "report": False, "seed": 0}
    options |= {"recordings": Path("prescreen-runs/recordings")}
    out = Path("prescreen-runs/early")
    args = command(__doc__, space=tuple(SPACES), **options, out=out).parse_args()
    args.do = "early"
    need(args, "data", "truths")
    torch.set_num_threads(1)
    space = SPACES[args.space]
    candidates = [*enumerate(space.candidates(args.truths))][space.chosen(args.report)]
    task = load_task(args.data, probe_size=LIGHT.probe, image_size=space.image_size)
    folder = args.out / args.space
    folder.mkdir(parents=True, exist_ok=True)
    for number, candidate in candidates:
        name = f"{number:04d}{RECORDED}"
        recorded = args.recordings / args.space / f"seed-{args.seed}" / name
        if recorded.exists() and not (folder / name).exists():
            arrays = early(candidate, task, replace(space.training, seed=args.seed))
            part = folder / f"{name}.part"
            with part.open("wb") as file:
                np.savez(file, name=np.array(candidate.name), **arrays)
            os.replace(part, folder / name)
            print(name, flush=True)


def early(candidate: Candidate, task: ImageTask, training: Training) -> dict[str, Any]:
    """The head on the probe batch and on its shifted view at `SHARE` of the budget."""
    torch.manual_seed(training.seed)
    model = candidate.model(**task.sizes)
    for step in BriefTraining(model, task, training):
        if step.share >= SHARE - 1e-9:
            break
    now = capture(model, task.probe)
    bias = torch.zeros(now.num_classes) if now.bias is None else now.bias
    kept = {"features": now.features, "logits": now.logits, "weight": now.weight, "bias": bias}
    kept["logits.shift"] = capture(model, VIEWS["shift"](task.probe)).logits
    arrays = {name: value.half().numpy()[None] for name, value in kept.items()}
    return {**arrays, "step": np.array([step.number])}


if __name__ == "__main__":
    main()
