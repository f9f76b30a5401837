"""Train candidates to a plateau: the truth of spaces for which none is published.

    python -m benchmarks.architectures.truth mobile --data DATA

The learning rate falls to a fiftieth of its peak over the first three quarters of the steps and stays
there. The truth is the accuracy on 5,000 labelled test images at the end; what it gained in the last
quarter is printed beside it. OUT/truth/SPACE/NUMBER.json holds the curve of every candidate. If it is
interrupted, rerun it: it resumes from the last twentieth of the training.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.architectures.record import PROBE, TEST, VALIDATION
from benchmarks.architectures.spaces import SPACES
from benchmarks.baselines.curves import accuracy
from benchmarks.common.images import Labelled, labelled_images
from benchmarks.common.options import command, need
from prescreen import Candidate, Training, load_task
from prescreen.files import replace_text
from prescreen.tasks import ImageTask
from prescreen.training.loop import BriefTraining
from prescreen.training.recipe import peak_lr

# The training is read after each of these parts; the rate falls over the first ones.
PARTS, FALLING = 20, 15
LOW = 0.02
SEED = 1

Curve = dict[str, Any]


def main() -> None:
    """Train all candidates of a space, each until it is finished."""
    spaces = tuple(name for name, space in SPACES.items() if space.truth_steps)
    options = {"data": Path, "workers": 2, "steps": int}
    parser = command(__doc__, space=spaces, **options, out=Path("prescreen-runs/recordings"))
    args = parser.parse_args()
    args.do = "truth"
    need(args, "data")
    space = SPACES[args.space]
    steps = args.steps or space.truth_steps
    folder = args.out / "truth" / args.space
    folder.mkdir(parents=True, exist_ok=True)
    training = replace(space.training, seed=SEED)
    context, given = get_context("spawn"), (args.data, space.image_size)
    candidates = space.candidates(None)
    with ProcessPoolExecutor(args.workers, context, _load, given) as pool:
        futures = [
            pool.submit(_train, folder / f"{number:04d}", candidate, training, steps)
            for number, candidate in enumerate(candidates)
        ]
        for future in futures:
            print(told(future.result()), flush=True)


def told(curve: Curve) -> str:
    """A line on a finished curve: the accuracy, and what it gained in the last quarter."""
    if "failure" in curve:
        return f"{curve['name']}  {curve['failure']}"
    last, before = curve["accuracy"][-1], curve["accuracy"][FALLING - 1]
    return f"{curve['name']}  {last:.2f}  {last - before:+.2f}"


_data: list[tuple[ImageTask, Labelled]] = []


def _load(data: Path, image_size: int) -> None:
    torch.set_num_threads(1)
    task = load_task(data, probe_size=PROBE, image_size=image_size)
    _data.append((task, labelled_images(data, task, VALIDATION, TEST)[1]))


def _train(stem: Path, candidate: Candidate, training: Training, steps: int) -> Curve:
    return train(stem, candidate, *_data[0], training, steps)


def train(
    stem: Path,
    candidate: Candidate,
    task: ImageTask,
    tested: Labelled,
    training: Training,
    steps: int,
) -> Curve:
    """The curve of a candidate: steps, accuracies in percent and mean losses of all parts.

    Args:
        stem: path of the finished curve, and of the state to resume from, without their suffixes.
        candidate: what is trained.
        task: what it is trained on.
        tested: images and labels.
        training: the recipe; its steps do not count.
        steps: of the whole training.

    Returns:
        The curve, with an entry ``failure`` if the training diverged.
    """
    finished, saved = stem.with_suffix(".json"), stem.with_suffix(".state")
    if finished.exists():
        known: Curve = json.loads(finished.read_text())
        return known
    torch.manual_seed(training.seed)
    # the same function; twice as fast for many networks on a CPU
    model = candidate.model(**task.sizes).to(memory_format=torch.channels_last)
    curve: Curve = {"name": candidate.name, "step": [], "accuracy": [], "loss": []}
    curve["cpu_seconds"], state = 0.0, None
    if saved.exists():
        kept = torch.load(saved, weights_only=True)
        curve, state = kept["curve"], kept["training"]
    while (done := len(curve["step"])) < PARTS and "failure" not in curve:
        phase = _phase(model, task, training, steps // PARTS, done)
        if state is not None and done == FALLING:  # the state is that of the finished phase
            model.load_state_dict(state["model"])
        elif state is not None:
            phase.load_state_dict(state)
        state = None
        _advance(phase, model, tested, steps // PARTS, curve, saved)
    replace_text(finished, json.dumps(curve))
    saved.unlink(missing_ok=True)
    return curve


def _phase(
    model: nn.Module, task: ImageTask, training: Training, part: int, done: int
) -> BriefTraining:
    """The training with a falling rate, or the last quarter at a low one."""
    if done < FALLING:
        return BriefTraining(model, task, replace(training, steps=FALLING * part))
    low = replace(training, lr=LOW * peak_lr(training), schedule="constant", warmup=0.0)
    rest = replace(low, steps=(PARTS - FALLING) * part, seed=training.seed + 1)
    return BriefTraining(model, task, rest)


def _advance(
    phase: BriefTraining, model: nn.Module, tested: Labelled, part: int, curve: Curve, saved: Path
) -> None:
    """Train to the end of a phase; add every part to the curve, and save both."""
    start, losses = time.process_time(), []
    for step in phase:
        if step.diverged:
            curve["failure"] = f"diverged at step {step.number} of its phase"
            return
        losses.append(step.loss)
        if step.number % part == 0:
            curve["step"].append((len(curve["step"]) + 1) * part)
            curve["loss"].append(sum(losses) / len(losses))
            share = accuracy(model, *tested, batch_statistics=False)
            curve["accuracy"].append(round(100 * share, 2))
            curve["cpu_seconds"] += time.process_time() - start
            written = saved.with_suffix(".part")
            torch.save({"curve": curve, "training": phase.state_dict()}, written)
            written.replace(saved)
            start, losses = time.process_time(), []


if __name__ == "__main__":
    main()
