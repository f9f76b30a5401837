"""Images with their masks in memory: their checks, and training batches without end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from prescreen.checks import require_at_least
from prescreen.tasks.images.batches import Moments
from prescreen.tasks.images.task import Augment
from prescreen.tasks.rows import shuffled_rows
from prescreen.tasks.tensors import TensorData, as_floats

# Images are shifted by up to this fraction of their size.
_SHIFT = 8


@dataclass(frozen=True, eq=False)
class MaskBatches:
    """batches(batch_size, seed): reshuffled, augmented and normalised images with their masks."""

    data: TensorData
    moments: Moments
    augment: Augment

    def __call__(self, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(images (B, C, H, W) float32, masks (B, H, W) int64) without end; one seed, one order."""
        generator = Generator().manual_seed(seed)
        return self._read(shuffled_rows(len(self.data.targets), batch_size, generator), generator)

    @property
    def unaugmented(self) -> MaskBatches:
        """The same batches without augmentation."""
        return replace(self, augment=False)

    def _read(
        self, rows: Iterator[Tensor], generator: Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        assert isinstance(self.data.inputs, Tensor)
        for some in rows:
            images, masks = self.data.inputs[some], self.data.targets[some]
            if self.augment:
                images, masks = moved(images, masks, generator, mirror=self.augment is True)
            yield self.moments.normalize(images), masks.long()


def moved(
    images: Tensor, masks: Tensor, generator: Generator, *, mirror: bool
) -> tuple[Tensor, Tensor]:
    """Shift each image with its mask at random, and perhaps exchange left and right.

    Args:
        images: (B, C, H, W).
        masks: (B, H, W).
        generator: of the draws.
        mirror: whether half of them are mirrored.
    """
    rows, columns = (_shifted(len(images), length, generator) for length in images.shape[2:])
    if mirror:
        chosen = torch.rand(len(images), 1, generator=generator) < 0.5
        columns = torch.where(chosen, columns.flip(1), columns)
    at = (torch.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :])
    return images.movedim(1, -1)[at].movedim(-1, 1).contiguous(), masks[at]


def _shifted(count: int, length: int, generator: Generator) -> Tensor:
    """Where each pixel of an axis comes from, (count, length): shifted, and reflected at the ends."""
    most = length // _SHIFT
    by = torch.randint(-most, most + 1, (count, 1), generator=generator)
    source = (torch.arange(length) + by).abs()
    return torch.minimum(source, 2 * (length - 1) - source)


def as_pixels(name: str, images: object) -> Tensor:
    """Images (n, C, H, W): of 8 bits, or else as float32.

    Raises:
        ValueError: they are not such images, or not finite.
    """
    floats = as_floats(name, images, 4, 4)
    return images if isinstance(images, Tensor) and images.dtype == torch.uint8 else floats


def as_masks(masks: object, shape: tuple[int, ...]) -> Tensor:
    """Masks (n, H, W) of integers, of 8 bits if they fit.

    Raises:
        ValueError: they are not such masks, or not of the shape that is given.
    """
    is_integer = isinstance(masks, Tensor) and not (masks.is_floating_point() or masks.is_complex())
    if not isinstance(masks, Tensor) or not is_integer or tuple(masks.shape) != shape:
        form = f" {masks.dtype} {tuple(masks.shape)}" if isinstance(masks, Tensor) else ""
        raise ValueError(
            f"`masks` must be a tensor of integers of shape {shape}, (n, H, W) of the images, "
            f"got {type(masks).__name__}{form}"
        )
    masks = masks.long() if masks.dtype != torch.uint8 else masks
    return masks.byte() if int(masks.min()) >= 0 and int(masks.max()) < 256 else masks


def count_classes(masks: Tensor, num_classes: int | None, ignore_index: int | None) -> int:
    """K, of masks of class indices.

    Raises:
        ValueError: a value is neither an index of one of K classes nor `ignore_index`, or there is
            only one class.
    """
    values = [value for value in masks.unique().tolist() if value != ignore_index]
    if num_classes is None:
        if not values or values == [0]:
            but = "" if ignore_index is None else f" beside ignore_index={ignore_index}"
            raise ValueError(f"`masks` must have at least 2 classes, got {values or 'none'}{but}")
        num_classes = max(values) + 1
    require_at_least("num_classes", num_classes, 1)
    limit = max(num_classes, 2)  # a single logit tells two classes apart
    for value in values:
        if not 0 <= value < limit:
            raise ValueError(
                f"`masks` must have class indices from 0 to {limit - 1}, or ignore_index, got {value}"
            )
    return num_classes
