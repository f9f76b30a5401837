"""What readouts cost: time and peak memory beside autograd through the head and one matmul.

    python -m benchmarks.cost.readout_cost              # the tables of docs/readouts.md, half an hour
    python -m benchmarks.cost.readout_cost --heads 64x10 --rounds 50

All rows of a head are measured in turn, round after round, and compared as ratios of medians: the
machine's speed drifts, and all rows drift with it. Memory is the growth of the process's peak
resident size (Linux), or of the peak allocation on a GPU. --heads are features x classes and --skip
readouts to leave out, both separated by commas. After --seconds no round begins except the second.
"""

from __future__ import annotations

import statistics
import time
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.common.options import command
from benchmarks.common.readouts import HEAD, HEAD_PANEL
from prescreen import READOUTS, Training, capture, load_task
from prescreen.captured import Capture
from prescreen.spaces.chosen import as_candidates
from prescreen.text import plain_table
from prescreen.training import brief_training

HEADS = "64x10,2048x1000,1024x21841,4096x128256"
Work = Callable[[], object]


def main() -> None:
    """Print one table per head, then the share of brief training."""
    options = {"samples": 2048, "rounds": 15, "seconds": 60.0, "device": "cpu", "skip": ""}
    threads = torch.get_num_threads()
    args = command(__doc__, heads=HEADS, **options, threads=threads).parse_args()
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.device}, {args.threads} threads, seed 0", flush=True)
    for head in args.heads.split(","):
        features, classes = map(int, head.split("x"))
        measure_head(args, features, classes)
    share_of_training()


def measure_head(args: Namespace, d: int, k: int) -> None:
    """One table: every readout alone, the panel, autograd and the matmul."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(args.samples, d, generator=generator).relu_().to(args.device)
    weight = (torch.randn(k, d, generator=generator) / d**0.5).to(args.device)
    logits = z @ weight.T
    works: dict[str, Work] = {
        "features @ weight.T": lambda: z @ weight.T,
        "autograd": autograd(z, weight),
        "default panel": lambda: agreement(z, logits, weight),
        "panel of three": lambda: read(z, logits, weight, HEAD_PANEL),
        "checks of Capture": lambda: Capture(z, logits, weight),
    }
    names = [name for name in HEAD if name not in args.skip.split(",")]
    works |= {name: partial(read, z, logits, weight, (name,)) for name in names}
    print(f"\nhead {d:,} -> {k:,}, {args.samples:,} samples", flush=True)
    # The round that measures memory also warms up.
    peaks = {name: peak_memory(work, args.device) for name, work in works.items()}
    seconds = timed(works, args.rounds, args.device, args.seconds)
    matmul, graph = seconds["features @ weight.T"], seconds["autograd"]
    rows = []
    for name, s in seconds.items():
        figures = f"{1000.0 * s:.3g}", f"{s / matmul:.3g}", f"{graph / s:.3g}"
        rows.append([name, *figures, f"{peaks[name] / 2**20:.0f}"])
    print(plain_table(["", "ms", "x matmul", "autograd / it", "peak MiB"], rows), flush=True)


def read(z: Tensor, logits: Tensor, weight: Tensor, names: tuple[str, ...]) -> list[float]:
    """Readouts on a fresh capture, whose checks are measured separately."""
    taken = unchecked(z, logits, weight)
    return [HEAD[name](taken) for name in names]


def agreement(z: Tensor, logits: Tensor, weight: Tensor) -> float:
    """What the default panel reads of the head, on fresh captures of two views."""
    return READOUTS["expected_agreement"](*(unchecked(z, logits, weight) for _ in range(2)))


def unchecked(z: Tensor, logits: Tensor, weight: Tensor) -> Capture:
    """A capture without its checks."""
    taken = Capture.__new__(Capture)
    fields = {"features": z, "logits": logits, "weight": weight, "bias": None, "link": "softmax"}
    vars(taken).update(fields)
    return taken


def autograd(z: Tensor, weight: Tensor) -> Work:
    """The norm of the head gradient as users compute it: loss, then backward through the head.

    The forward matmul is left out, as it is for readouts, which are given the logits.
    """
    leaf = weight.detach().requires_grad_()
    logits = z @ leaf.T

    def work() -> float:
        loss = torch.nn.functional.cross_entropy(logits, logits.argmax(1))
        (gradient,) = torch.autograd.grad(loss, leaf, retain_graph=True)
        return gradient.norm().item()

    return work


def timed(works: dict[str, Work], rounds: int, device: str, limit: float = 60) -> dict[str, float]:
    """Median seconds of each, all in turn, round after round."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    begin = time.perf_counter()
    for round_ in range(rounds):
        if round_ > 1 and time.perf_counter() - begin > limit:
            break
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if device != "cpu":
                torch.cuda.synchronize(device)
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def peak_memory(work: Work, device: str) -> float:
    """Bytes by which ``work`` raises the peak; NaN where the system does not report it."""
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return torch.cuda.max_memory_allocated(device) - before
    status = Path("/proc/self/status")
    if not status.exists():
        return float("nan")
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from what is resident now
    before = _kilobytes(status, "VmRSS")
    work()
    return 1024 * (_kilobytes(status, "VmHWM") - before)


def _kilobytes(status: Path, field: str) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1])


def share_of_training() -> None:
    """Readout arithmetic after the forward pass, as a share of brief training on a small cell."""
    (candidate,) = as_candidates("nas_bench_201", 1, seed=0)
    torch.set_num_threads(1)
    print("\nbrief training of one NAS-Bench-201 cell (8 channels, 100 steps of 128), 1 thread")
    for size in (8, 32):
        task = load_task("digits", image_size=size)
        model = candidate.model(**task.sizes)
        start = time.perf_counter()
        list(brief_training(model, task, Training()))
        training = time.perf_counter() - start
        taken = capture(model, task.probe)
        work = partial(read, taken.features, taken.logits, taken.weight, HEAD_PANEL)
        reading = timed({"panel": work}, 50, "cpu")["panel"]
        print(
            f"{size} x {size} pixels: training {training:.2f} s, one reading of a panel of three "
            f"{1e3 * reading:.2f} ms = {100 * reading / training:.3f} %, the usual four "
            f"{400 * reading / training:.3f} %"
        )


if __name__ == "__main__":
    main()
