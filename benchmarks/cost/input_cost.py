"""What input costs: a batch beside a training step, and the memory of workers.

    python -m benchmarks.cost.input_cost --data DATA

Batches of 128 images, milliseconds of one thread's CPU and their share of a training step of a
small and a large NAS-Bench-201 cell: made by us from memory; by plain indexing, as before; decoded
for every batch, as of a data set that does not fit into memory; and by a DataLoader over the
decoded images, with torchvision's transforms, as in an ordinary loop. Medians of rounds in which
all take turns.

Then MiB for each of N workers that have read all images: their proportional set size, in which a
page that n processes share counts 1/n. Interpreters are spawned or forked from a server, the task
is a copy or mapped.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import torch
from prescreen.search_spaces import nas_bench_201
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from benchmarks.common.options import command
from prescreen import Training, load_task
from prescreen.forking import context_of
from prescreen.ranking.executors.base import pickled
from prescreen.ranking.executors.shared import shared
from prescreen.tasks.images import dataset
from prescreen.text import plain_table
from prescreen.training import brief_training

BATCH = 128
CELLS = {"small": "skip|none,none|none,none,skip", "large": "3x3|3x3,3x3|3x3,3x3,3x3"}


def main() -> None:
    """Print both tables."""
    args = command(__doc__, data=str, rounds=30, workers=4).parse_args()
    torch.set_num_threads(1)
    task = load_task(args.data)
    print(
        plain_table(["batches", "ms", "/ ours", *CELLS], batch_rows(args.data, task, args.rounds))
    )
    print(
        plain_table(
            ["workers", "task", "MiB each", "s until read"], worker_rows(task, args.workers)
        )
    )


def batch_rows(data: str, task: Any, rounds: int) -> list[list[str]]:
    """Milliseconds of a batch, and its share of a step with each of the cells."""
    samples, moments = task.batches.samples, task.batches.moments
    limit, dataset.MEMORY_LIMIT = dataset.MEMORY_LIMIT, 0
    on_demand = load_task(data, num_classes=task.num_classes, cache=False)
    dataset.MEMORY_LIMIT = limit
    sources: dict[str, Iterator[Any]] = {
        "ours": task.batches(BATCH, 0),
        "plain indexing": indexed(samples.images, samples.labels, moments),
        "decoded each time": on_demand.batches(BATCH, 0),
        "DataLoader": ordinary(samples.images, samples.labels, moments),
    }
    steps = {name: brief_training(built(name, task), task, Training(steps=10**6)) for name in CELLS}
    seconds: dict[str, list[float]] = {name: [] for name in (*sources, *steps)}
    for _ in range(rounds):
        for name, one in {**sources, **steps}.items():
            start = time.process_time()
            next(one)
            seconds[name].append(time.process_time() - start)
    median = {name: 1000 * statistics.median(values) for name, values in seconds.items()}
    rows = []
    for name in sources:
        # A step has made its own batch.
        rest = {cell: median[cell] - median["ours"] for cell in CELLS}
        shares = [f"{median[name] / (median[name] + rest[cell]):.1%}" for cell in CELLS]
        rows.append([name, f"{median[name]:.2f}", f"{median[name] / median['ours']:.1f}", *shares])
    return rows


def built(cell: str, task: Any) -> torch.nn.Module:
    """A cell's network."""
    (config,) = (one for one in nas_bench_201.grid() if nas_bench_201.name(one) == CELLS[cell])
    torch.manual_seed(0)
    sizes = {name: task.sizes[name] for name in ("num_classes", "in_channels", "image_size")}
    return nas_bench_201.build(config, **sizes)


def indexed(images: Tensor, labels: Tensor, moments: Any) -> Iterator[Any]:
    """Batches by indexing, a new tensor for each operation."""
    generator = torch.Generator().manual_seed(0)
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in moments)
    edge = images.shape[-1] // 8
    while True:
        for rows in torch.randperm(len(images), generator=generator).split(BATCH)[:-1]:
            some = images[rows]
            top, left = (
                torch.randint(2 * edge + 1, (BATCH,), generator=generator) for _ in range(2)
            )
            padded = functional.pad(some, (edge, edge, edge, edge))
            windows = padded.unfold(2, images.shape[2], 1).unfold(3, images.shape[3], 1)
            some = windows[torch.arange(BATCH), :, top, left]
            flipped = torch.rand(BATCH, generator=generator) < 0.5
            some = torch.where(flipped.view(-1, 1, 1, 1), some.flip(3), some)
            yield (some.float() - mean) / std, labels[rows]


class _Images(Dataset[Any]):
    """Decoded images with a transform, as torchvision's data sets are."""

    def __init__(self, images: Tensor, labels: Tensor, transform: Callable[[Any], Any]) -> None:
        self._images, self._labels, self._transform = images, labels.tolist(), transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, i: int) -> Any:
        return self._transform(self._images[i]), self._labels[i]


def ordinary(images: Tensor, labels: Tensor, moments: Any) -> Iterator[Any]:
    """Batches of a DataLoader in this process."""
    mean, std = ([value / 255 for value in values] for values in moments)
    transform = v2.Compose(
        [
            v2.RandomCrop(images.shape[-1], padding=images.shape[-1] // 8),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    data = _Images(images, labels, transform)
    loader = DataLoader(data, BATCH, shuffle=True, drop_last=True)
    return chain.from_iterable(repeat(loader))


def worker_rows(task: Any, workers: int) -> list[list[str]]:
    """MiB of each of some workers, and seconds until all have read all images."""
    rows = []
    for name, forks in (("spawned", False), ("forked", True)):
        for kept in ("copied", "mapped"):
            context = context_of(forks=forks)
            as_copy = nullcontext(pickled("task", task)) if kept == "copied" else None
            with as_copy or shared("task", task) as message:
                # One before, whose server may still be importing.
                memory_of(context, message, 1)
                start = time.perf_counter()
                memory = memory_of(context, message, workers)
                seconds = time.perf_counter() - start
            mean = statistics.mean(memory)
            rows.append([f"{workers} {name}", kept, f"{mean:.0f}", f"{seconds:.1f}"])
    return rows


def memory_of(context: Any, message: bytes, workers: int) -> list[float]:
    """The MiB of each worker while all of them hold the task."""
    barrier = context.Barrier(workers)
    pipes = [context.Pipe() for _ in range(workers)]
    processes = [
        context.Process(target=hold, args=(theirs, barrier, workers)) for _, theirs in pipes
    ]
    for process, (ours, _) in zip(processes, pipes, strict=True):
        process.start()
        ours.send_bytes(message)
    memory = [ours.recv() for ours, _ in pipes]
    for process in processes:
        process.join()
    return memory


def hold(pipe: Any, barrier: Any, workers: int) -> None:
    """Read all images, and say how much memory that takes."""
    import pickle

    task = pickle.loads(pipe.recv_bytes())
    task.batches.samples.images.sum()
    barrier.wait()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    (size,) = (int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    barrier.wait()
    pipe.send(size / 1024)


if __name__ == "__main__":
    main()
