"""GPUs: those of one machine, over which worker processes are spread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from prescreen.checks import require

# Says which GPUs a process sees. It is looked at once, when the process first asks for a GPU.
_GPUS = "CUDA_VISIBLE_DEVICES"


def visible(device: str, gpus: int | None) -> list[str]:
    """What CUDA_VISIBLE_DEVICES is for each GPU that workers are spread over; none to leave it."""
    if device != "cuda":
        require("gpus", f"None for the device {device}", gpus, gpus is None)
        return []
    there = torch.cuda.device_count()
    require("gpus", f"at most the {there} that are visible", gpus, gpus is None or gpus <= there)
    if there == 1:
        return []
    given = os.environ.get(_GPUS)
    names = [*map(str, range(there))] if given is None else [*map(str.strip, given.split(","))]
    return names[: there if gpus is None else gpus]


@contextmanager
def seeing(gpu: str | None) -> Iterator[None]:
    """What is started inside sees this GPU alone; None for those that this process sees."""
    before = os.environ.get(_GPUS)
    try:
        if gpu is not None:
            os.environ[_GPUS] = gpu
        yield
    finally:
        if before is not None:
            os.environ[_GPUS] = before
        elif gpu is not None:
            del os.environ[_GPUS]
