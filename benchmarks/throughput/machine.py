"""The machine's limit: its matmul and memory rate, and what a training step asks of both."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

_SIDE, _BYTES, _REPEATS = 1024, 1 << 28, 3


@dataclass(frozen=True)
class Rates:
    """What one thread of the CPU, or the GPU, can do at most.

    Args:
        flops: floating-point operations a second of a float32 matmul.
        memory: bytes a second that a copy reads and writes.
    """

    flops: float
    memory: float


def rates(device: str) -> Rates:
    """The better of a few tries; other work on the machine only adds to them."""
    a, b = torch.randn(2, _SIDE, _SIDE, device=device)
    source = torch.zeros(_BYTES // 4, device=device)
    target = torch.empty_like(source)
    multiplied = _shortest(lambda: torch.mm(a, b), device)
    copied = _shortest(lambda: target.copy_(source), device)
    return Rates(2 * _SIDE**3 / multiplied, 2 * _BYTES / copied)


def clock(device: str) -> float:
    """Seconds of this process on a CPU, to which other work does not count; else of the wall."""
    if device == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def _shortest(work: Callable[[], object], device: str) -> float:
    work()
    seconds = []
    for _ in range(_REPEATS):
        start = clock(device)
        work()
        seconds.append(clock(device) - start)
    return min(seconds)


class Demand(TorchDispatchMode):
    """Counts calls of torch's operations, and the bytes of what they are given and return.

    Memory would have to move all of these if nothing stayed in a cache. Views move nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.bytes = 0, 0

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Count an operation and call it."""
        out = func(*args, **(kwargs or {}))
        if not getattr(func, "is_view", False):
            self.calls += 1
            leaves = tree_leaves((args, kwargs, out))
            self.bytes += sum(one.nbytes for one in leaves if isinstance(one, Tensor))
        return out


def demand(step: Callable[[], object]) -> tuple[float, Demand]:
    """The floating-point operations of a training step, and the rest that it asks for."""
    own, arithmetic = Demand(), FlopCounterMode(display=False)
    with own, arithmetic:
        step()
    return float(arithmetic.get_total_flops()), own
