"""What `torch.compile` is worth in a brief training, and after how many steps it has paid.

    python -m benchmarks.throughput.compiling                  # a quarter of an hour
    python -m benchmarks.throughput.compiling --families ViT --rounds 5

One network a family, forward, backward and update, laid out as prescreen trains it, beside the same
network compiled with the defaults, in turn. One thread, medians of CPU seconds; above 1 is faster.
"compile s" are the CPU seconds of the first compiled step, C++ compiler included, in a folder of caches
that is empty at first: candidates of a search differ, so each is compiled anew. "pays after" is the
number of steps at which compiling and compiled steps have taken no longer than plain ones.
"""

from __future__ import annotations

import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable

import torch
import torch._inductor.config

from benchmarks.common.options import command
from benchmarks.throughput.families import FAMILIES
from benchmarks.throughput.layouts import stepping
from prescreen.text import plain_table
from prescreen.training.execution import execution_of, lay_out

_HEADER = ["", "plain ms", "compiled", "compile s", "pays after"]


def main() -> None:
    """One row a family."""
    args = command(__doc__, families=[*FAMILIES], batch=128, rounds=9).parse_args()
    torch.set_num_threads(1)
    torch._inductor.config.compile_threads = 1
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        for name in args.families:
            rows.append([name, *measured(name, args.batch, args.rounds)])
            print(" ".join(rows[-1]), flush=True)
    print(f"torch {torch.__version__}, {args.batch} images, {args.rounds} rounds, one thread")
    print(plain_table(_HEADER, rows))


def measured(family: str, batch: int, rounds: int) -> list[str]:
    """The cells of a family's first candidate."""
    size = FAMILIES[family].image_size
    torch.manual_seed(0)
    first, *_ = FAMILIES[family].candidates()
    model = first.model(num_classes=10, in_channels=3, image_size=(size, size))
    if execution_of(model, torch.device("cpu")).channels_last:  # else as it was built
        lay_out(model, channels_last=True)
    images = torch.randn(batch, 3, size, size)
    labels = torch.randint(10, (batch,))
    compiled = copy.deepcopy(model.train())
    torch._dynamo.reset()
    compiled.compile()
    steps = {
        "plain": stepping(model, images, labels),
        "compiled": stepping(compiled, images, labels),
    }
    begun = {name: _timed(step, _of_all) for name, step in steps.items()}
    seconds = {name: statistics.median(values) for name, values in _in_turn(steps, rounds).items()}
    saved = seconds["plain"] - seconds["compiled"]
    lost = begun["compiled"] - seconds["compiled"]
    after = f"{lost / saved:,.0f} steps" if saved > 0 else "never"
    gain = seconds["plain"] / seconds["compiled"]
    return [f"{1000 * seconds['plain']:.1f}", f"{gain:.2f}", f"{lost:.1f}", after]


def _in_turn(steps: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            seconds[name].append(_timed(step, time.process_time))
    return seconds


def _timed(step: Callable[[], None], clock: Callable[[], float]) -> float:
    start = clock()
    step()
    return clock() - start


def _of_all() -> float:
    """CPU seconds of this process and of those that it started, in hundredths."""
    return sum(os.times()[:4])


if __name__ == "__main__":
    main()
