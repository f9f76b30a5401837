"""Rows of data: their order in training, the draw of the probe, and their hash."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from prescreen.checks import require_at_least


def shuffled_rows(count: int, batch_size: int, generator: Generator) -> Iterator[Tensor]:
    """Row numbers of one batch after another, epoch after epoch in another order.

    An incomplete last batch of an epoch is dropped. If there are fewer rows than a batch has, every
    batch is all of them.

    Raises:
        ValueError: a batch size below 1.
    """
    require_at_least("batch_size", batch_size, 1)
    return _epochs(count, min(batch_size, count), generator)


def draw_rows(count: int, size: int, generator: Generator, leave: int = 0) -> tuple[Tensor, Tensor]:
    """Row numbers of a probe and, in order, of the rest.

    Raises:
        ValueError: a size below 2, or one that leaves fewer than `leave` rows.
    """
    if not 2 <= size <= count - leave:
        raise ValueError(
            f"`probe_size` must be from 2 to {count - leave}, with {count} samples to draw from, "
            f"got {size}"
        )
    order = torch.randperm(count, generator=generator)
    return order[:size], order[size:].sort().values


def digest(*tensors: Tensor) -> str:
    """Sha256 over the shapes and bytes of tensors."""
    sha = hashlib.sha256()
    for tensor in tensors:
        sha.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        sha.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


def _epochs(count: int, size: int, generator: Generator) -> Iterator[Tensor]:
    while True:
        order = torch.randperm(count, generator=generator)
        for start in range(0, count - size + 1, size):
            yield order[start : start + size]
