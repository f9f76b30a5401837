"""How well predicted masks overlap with true ones: Dice and IoU."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from prescreen.heads.preserve import preserve
from prescreen.predictions import model_logits


class Overlap(NamedTuple):
    """Dice and intersection over union of each class, (K,), over all pixels; NaN if it is nowhere."""

    dice: Tensor
    iou: Tensor

    @property
    def mean_dice(self) -> float:
        """The mean over classes but the first, which is the background."""
        return self.dice[1:].nanmean().item()

    @property
    def mean_iou(self) -> float:
        """The mean over all classes, as it is published."""
        return self.iou.nanmean().item()


def overlap(
    predicted: Tensor, masks: Tensor, classes: int, ignore_index: int | None = 255
) -> Overlap:
    """How predicted classes overlap with true ones, both (n, H, W).

    Args:
        predicted: class indices.
        masks: class indices; pixels with `ignore_index` do not count.
        classes: K, at least 2.
        ignore_index: None if there are none.
    """
    counted = torch.ones_like(masks, dtype=torch.bool)
    if ignore_index is not None:
        counted = masks != ignore_index
    pairs = predicted[counted].long() * classes + masks[counted].long()
    confusion = torch.bincount(pairs, minlength=classes**2).view(classes, classes).double()
    both, sizes = confusion.diag(), confusion.sum(0) + confusion.sum(1)
    return Overlap(2 * both / sizes, both / (sizes - both))


def predict_masks(
    model: nn.Module,
    images: Tensor,
    size: tuple[int, int],
    *,
    batch_statistics: bool,
    batch_size: int = 32,
) -> Tensor:
    """Classes (n, H, W) that a model in eval mode predicts at some size; the model stays as it was.

    Logits are enlarged as in training. A single logit is above 0 for class 1.

    Args:
        model: gives logits (B, K, h, w).
        images: (n, C, H, W).
        size: height and width.
        batch_statistics: whether BatchNorm uses each batch's own statistics, as after brief training.
        batch_size: of images that are predicted together.
    """
    found = []
    with preserve(model, batch_statistics=batch_statistics):
        for some in images.split(batch_size):
            logits = model_logits(model(some))
            logits = functional.interpolate(logits, size, mode="bilinear")
            found.append(logits.argmax(1) if logits.shape[1] > 1 else (logits[:, 0] > 0).long())
    return torch.cat(found)
