"""Pixels: training and probe images of a data set in memory, for tasks without labels of theirs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from prescreen.checks import require_at_least
from prescreen.tasks.images import dataset as images
from prescreen.tasks.images.layouts import held_dtype
from prescreen.tasks.images.probe_batch import choose_probe


class Pixels(NamedTuple):
    """Training images (n, C, H, W), their rows in the data set, and probe images (N, C, H, W)."""

    images: Tensor
    rows: Tensor
    probe: Tensor


def read_pixels(
    dataset: Dataset[Any],
    held: Dataset[Any] | None,
    *,
    probe_size: int,
    seed: int,
    image_size: int | None,
) -> Pixels:
    """Read images of one layout; labels are not looked at.

    Args:
        dataset: training images.
        held: images that the probe is drawn from; None to hold them out of the training images.
        probe_size: N.
        seed: of the draw of the probe.
        image_size: height and width in pixels; by default their own, or the median of 64 images.

    Raises:
        ValueError: an argument is out of its range, images cannot be read, or take more than 4 GiB.
    """
    require_at_least("probe_size", probe_size, 2)
    if image_size is not None:
        require_at_least("image_size", image_size, 1)
    generator = Generator().manual_seed(seed)
    source, chosen, rows = choose_probe(dataset, held, probe_size, generator)
    layout = images.common_layout(dataset, rows, image_size)
    taken = layout.channels * layout.height * layout.width * (len(rows) + len(chosen))
    if taken * held_dtype(layout.dtype).itemsize > images.MEMORY_LIMIT:
        raise ValueError(
            f"`image_size` must be such that {len(rows)} images take at most 4 GiB, got "
            f"{layout.height}×{layout.width} pixels"
        )
    training, probe = (
        torch.stack([images.read_image(of, row, layout) for row in wanted.tolist()])
        for of, wanted in ((dataset, rows), (source, chosen))
    )
    return Pixels(training, rows, probe)
