"""Record brief trainings once, so that any readout and any rule can be tried without training again.

    python -m benchmarks.architectures.record nas_bench_101 --data DATA --truths TRUTHS

For every candidate OUT/SPACE/seed-S/NUMBER.npz holds the loss of every step, the measures of the
untrained network and, at 8 evenly spaced steps, in half precision: what `capture` gives on the probe
batch (features, logits, weight, bias) and the logits of the shifted probe batch. Every second reading
also has the logits of other views, of slightly changed weights, in evaluation mode and of inputs seen in
training, and the accuracy on validation images. With --light there are 4 readings, of which only the
last is whole, and half as many probe images. DATA is a folder of CIFAR-10 in parquet files, TRUTHS the
folder of the published tables. What is there is not measured again: if it is interrupted, rerun it.
Candidates that fail leave NUMBER.txt with the reason. `ask` reads recordings.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.architectures.spaces import SPACES
from benchmarks.baselines.curves import accuracy
from benchmarks.common.images import Labelled, labelled_images
from benchmarks.common.options import command, need
from prescreen import READOUTS, Candidate, CandidateFailed, Probe, Training, capture, load_task
from prescreen.failures import failing_as
from prescreen.files import replace_text
from prescreen.heads.noise import weight_noise
from prescreen.readouts.network import structure
from prescreen.tasks import ImageTask
from prescreen.tasks.images.views import cropped, mirrored, shifted
from prescreen.training.loop import BriefTraining

PROBE, VALIDATION, TEST, SEEN = 1024, 1000, 5000, 512


@dataclass(frozen=True)
class Extent:
    """How much is recorded: probe images, readings, and every which of them is whole."""

    probe: int = PROBE
    readings: int = 8
    whole: int = 2


LIGHT = Extent(probe=512, readings=4, whole=4)

RECORDED, FAILED = ".npz", ".txt"


def main() -> None:
    """Record all candidates of a space, or those from --start on."""
    options = {"data": Path, "truths": Path, "workers": 2, "seed": 0, "start": 0, "limit": int}
    options |= {"light": False}
    parser = command(__doc__, space=tuple(SPACES), **options, out=Path("prescreen-runs/recordings"))
    args = parser.parse_args()
    args.do = "record"
    need(args, "data")
    space = SPACES[args.space]
    folder = args.out / args.space / f"seed-{args.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    stop = None if args.limit is None else args.start + args.limit
    candidates = [*enumerate(space.candidates(args.truths))][args.start : stop]
    waiting = unrecorded(folder, candidates)
    training = replace(space.training, seed=args.seed)
    extent = LIGHT if args.light else Extent()
    context, given = get_context("spawn"), (args.data, space.image_size, extent.probe)
    with ProcessPoolExecutor(args.workers, context, _load, given) as pool:
        futures = [
            pool.submit(_record, folder / f"{n:04d}", c, training, extent) for n, c in waiting
        ]
        for (number, candidate), future in zip(waiting, futures, strict=True):
            print(f"{number:04d}  {candidate.name}  {future.result()}", flush=True)


def unrecorded(
    folder: Path, candidates: Iterable[tuple[int, Candidate]]
) -> list[tuple[int, Candidate]]:
    """Numbers and candidates that neither have a recording in the folder nor failed."""
    done = {path.stem for path in folder.iterdir() if path.suffix in (RECORDED, FAILED)}
    return [(number, one) for number, one in candidates if f"{number:04d}" not in done]


_data: list[tuple[ImageTask, Labelled]] = []


def _load(data: Path, image_size: int, probe: int) -> None:
    torch.set_num_threads(1)
    task = load_task(data, probe_size=probe, image_size=image_size)
    _data.append((task, labelled_images(data, task, VALIDATION, TEST)[0]))


def _record(stem: Path, candidate: Candidate, training: Training, extent: Extent) -> str:
    """Write the recording of a candidate, or the reason of its failure."""
    task, validation = _data[0]
    try:
        arrays = record(candidate, task, validation, training, extent)
    except CandidateFailed as error:
        replace_text(stem.with_suffix(FAILED), f"{candidate.name}\n{error}\n")
        return str(error)
    part = stem.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, name=np.array(candidate.name), **arrays)
    os.replace(part, stem.with_suffix(RECORDED))
    return f"{arrays['train_seconds']:.0f} s"


def record(
    candidate: Candidate,
    task: ImageTask,
    validation: Labelled,
    training: Training,
    extent: Extent,
) -> dict[str, Any]:
    """Everything that is measured of one candidate, as arrays."""
    arrays: dict[str, Any] = {}
    with failing_as("build"):
        torch.manual_seed(training.seed)
        untrained = candidate.model(untrained=True, **task.sizes)
        torch.manual_seed(training.seed)
        model = candidate.model(**task.sizes)
    arrays["parameters"] = sum(p.numel() for p in model.parameters())
    arrays["architecture"] = np.array(structure(untrained))
    seen = task.batches(SEEN, 2)
    readings: list[dict[str, Any]] = []
    losses, steps, seconds = [], [], 0.0
    with failing_as("run"):
        for of, network in (("untrained", untrained), ("reduced", model)):
            arrays |= {f"{of}.{name}": value for name, value in _of_network(network, task)}
        trained = BriefTraining(model, task, training)
        start = time.process_time()
        for step in trained:
            losses.append(step.loss)
            if step.diverged:
                raise CandidateFailed("diverged", f"loss at step {step.number}")
            if int(step.share * extent.readings + 1e-9) > len(readings):
                seconds += time.process_time() - start
                steps.append(step.number)
                whole = (len(readings) + 1) % extent.whole == 0
                readings.append(_read(model, task, next(seen)[0], validation, whole))
                start = time.process_time()
    stacked = {
        key: np.stack([reading[key] for reading in readings if key in reading])
        for key in readings[-1]
    }
    return arrays | stacked | {"loss": losses, "step": steps, "train_seconds": seconds}


def _of_network(model: nn.Module, task: ImageTask) -> list[tuple[str, float]]:
    probe = Probe(task.probe, [name for name, one in READOUTS.items() if one.of_network])
    probe.read_untrained(model)
    return [*probe.read(model, 0).values.items()]


def _read(
    model: nn.Module, task: ImageTask, seen: Tensor, validation: Labelled, whole: bool
) -> dict[str, np.ndarray[Any, Any]]:
    """What is kept of one reading; all of it if it is whole."""
    start = time.process_time()
    now = capture(model, task.probe)
    bias = torch.zeros(now.num_classes) if now.bias is None else now.bias
    kept = {"features": now.features, "logits": now.logits, "weight": now.weight, "bias": bias}
    kept["read_seconds"] = torch.tensor(time.process_time() - start)
    for name, view in VIEWS.items():
        if whole or name == "shift":
            kept[f"logits.{name}"] = capture(model, view(task.probe)).logits
    if not whole:
        return _halves(kept)
    kept["logits.eval"] = capture(model, task.probe, batch_statistics=False).logits
    kept["logits.seen"] = capture(model, seen).logits
    with weight_noise(model):
        kept["logits.noise"] = capture(model, task.probe).logits
    inputs, labels = validation
    for batch_statistics in (False, True):
        name = f"validation_accuracy{'_batch' if batch_statistics else ''}"
        share = accuracy(model, inputs, labels, batch_statistics=batch_statistics)
        kept[name] = torch.tensor(share)
    return _halves(kept)


def _halves(tensors: dict[str, Tensor]) -> dict[str, np.ndarray[Any, Any]]:
    # Half precision holds up to 65,504; a network that is beyond is as good as diverged.
    return {name: value.half().numpy() for name, value in tensors.items()}


VIEWS: dict[str, Callable[[Tensor], Tensor]] = {
    "shift": shifted,
    "mirror": mirrored,
    "zoom": cropped,
}


if __name__ == "__main__":
    main()
