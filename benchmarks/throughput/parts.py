"""Where the seconds of a candidate go, by timing what training and reading call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from benchmarks.throughput.machine import clock
from prescreen import Candidate, Training
from prescreen.probe import Probe
from prescreen.ranking.executors.base import torch_threads
from prescreen.screening import Plan, Screening
from prescreen.screening import run as screening
from prescreen.tasks import ImageTask

PARTS = ("build", "data", "forward", "backward", "clip", "optimizer", "untrained", "reading")


def parts_of(candidate: Candidate, task: ImageTask, training: Training) -> dict[str, float]:
    """Seconds by part, and ``"rest"``: the loop, random state and what surrounds a candidate."""
    seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)
    device = training.device

    @contextmanager
    def timed(part: str) -> Iterator[None]:
        start = clock(device)
        yield
        seconds[part] += clock(device) - start

    def timing(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with timed(part):
                return function(*args, **kwargs)

        return call

    def batches(batch_size: int, seed: int) -> Iterator[Any]:
        own = task.batches(batch_size, seed)
        while True:
            with timed("data"):
                batch = next(own)
            yield batch

    patched: tuple[tuple[Any, str, str], ...] = (
        (screening, "build", "build"),
        (ImageTask, "loss", "forward"),
        (Tensor, "backward", "backward"),
        (nn.utils, "clip_grad_norm_", "clip"),
        (torch.optim.SGD, "step", "optimizer"),
        (torch.optim.AdamW, "step", "optimizer"),
        (Probe, "read_untrained", "untrained"),
        (Probe, "read", "reading"),
    )
    with ExitStack() as stack:
        stack.enter_context(torch_threads(1))
        for owner, name, part in patched:
            stack.enter_context(patch.object(owner, name, timing(part, getattr(owner, name))))
        plan = Plan(replace(task, batches=batches), training, ranking=True)
        start = clock(device)
        for _ in Screening(candidate, plan):
            pass
        whole = clock(device) - start
    return {**seconds, "rest": whole - sum(seconds.values())}
