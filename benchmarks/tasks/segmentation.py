"""Segmentation: foreground of images with instance maps, candidates of `search_spaces/unet.py`.

Half of the images are trained on. Of the others, the probe has some without their masks, and what
networks are worth is their Dice on the rest, in eval mode.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Generator, Tensor, nn

from benchmarks.common.masks import overlap, predict_masks
from benchmarks.tasks.kind import Data, Kind, hard_runs
from prescreen import Training
from prescreen.panel import DEFAULT_PANEL
from prescreen.tasks import SegmentationTask
from prescreen.tasks.masks.folders import read_folder

IMAGE_SIZE, PROBE = 64, 32
# Images that are soon known by heart; with wrong masks, every second one has that of another image.
FEW, MISLED = 6, 24


def load(path: Path, image_size: int = IMAGE_SIZE, probe_size: int = PROBE) -> Data:
    """The task of a folder of images and instance maps, and its regimes."""
    read = read_folder(
        path,
        instances=True,
        ignore_index=None,
        num_classes=2,
        probe=None,
        probe_size=2,
        seed=0,
        image_size=image_size,
    )
    order = torch.randperm(len(read.images), generator=Generator().manual_seed(0))
    half, judged = len(order) // 2, len(order) // 2 + probe_size
    pixels, masks = read.images[order].float(), read.masks[order]
    mean, std = (stat(pixels[:half], (0, 2, 3), keepdim=True) for stat in (torch.mean, torch.std))
    images = (pixels - mean) / std

    def task(count: int, theirs: Tensor, augment: bool) -> SegmentationTask:
        return SegmentationTask(
            images[:count],
            theirs[:count],
            num_classes=2,
            ignore_index=None,
            probe=images[half:judged],
            augment=augment,
            mean=0.0,
            std=1.0,
        )

    def test(model: nn.Module) -> dict[str, float]:
        shape = (image_size, image_size)
        made = predict_masks(model, images[judged:], shape, batch_statistics=False)
        return {"dice": overlap(made, masks[judged:], 2, None).mean_dice}

    regimes = {
        "few": task(FEW, masks, augment=False),
        "wrong": task(MISLED, exchanged(masks[:MISLED]), augment=False),
    }
    return Data(task(half, masks, augment=True), test, regimes)


def exchanged(masks: Tensor) -> Tensor:
    """Every second mask is that of the second image after."""
    other = masks.clone()
    other[::2] = masks[::2].roll(1, 0)
    return other


_SMALL = {"depth": 2, "width": 8, "kernel": 3, "norm": "batch", "skip": "concatenate"}
_LARGE = {"depth": 3, "width": 16, "kernel": 3, "norm": "group", "skip": "add"}

KIND = Kind(
    name="segmentation",
    space="unet",
    load=load,
    training=Training(steps=60, batch_size=8, optimizer="adamw"),
    longer=8,
    quality="test.dice",
    higher_is_better=True,
    dead=0.1,
    panel=getattr(SegmentationTask, "panel", DEFAULT_PANEL),
    runs=hard_runs((_SMALL, _LARGE), steps=400),
)
