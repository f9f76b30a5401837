"""Images with their boxes in memory: their checks, and training batches without end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import torch
from torch import Generator, Tensor

from prescreen.checks import require, require_at_least
from prescreen.tasks.boxes.annotations import inside
from prescreen.tasks.rows import digest, shuffled_rows
from prescreen.tasks.tensors import as_floats

# Images (B, C, H, W), and for each its ``boxes`` (m, 4) and ``labels`` (m,).
Batch: TypeAlias = tuple[Tensor, list[dict[str, Tensor]]]


@dataclass(frozen=True, eq=False)
class BoxBatches:
    """batches(batch_size, seed): reshuffled and perhaps mirrored images with their boxes."""

    images: Tensor
    boxes: Sequence[Tensor]
    labels: Sequence[Tensor]
    augment: bool

    def __call__(self, batch_size: int, seed: int) -> Iterator[Batch]:
        """(images (B, C, H, W) float32, targets) without end; one seed, one order."""
        generator = Generator().manual_seed(seed)
        return self._read(shuffled_rows(len(self.images), batch_size, generator), generator)

    @property
    def unaugmented(self) -> BoxBatches:
        """The same batches without augmentation."""
        return replace(self, augment=False)

    def digest(self) -> str:
        """A hash of all images, boxes and labels, and how they are read."""
        counts = torch.tensor([len(some) for some in self.labels])
        whole = digest(self.images, counts, torch.cat([*self.boxes]), torch.cat([*self.labels]))
        return f"{whole} {self.augment}"

    def _read(self, rows: Iterator[Tensor], generator: Generator) -> Iterator[Batch]:
        for some in rows:
            images = as_shares(self.images[some])
            boxes = [self.boxes[row] for row in some.tolist()]
            if self.augment:
                chosen = torch.rand(len(some), generator=generator) < 0.5
                images = torch.where(chosen.view(-1, 1, 1, 1), images.flip(3), images)
                pairs = zip(boxes, chosen.tolist(), strict=True)
                boxes = [mirrored(own, images.shape[3]) if flip else own for own, flip in pairs]
            labels = (self.labels[row] for row in some.tolist())
            yield (
                images,
                [{"boxes": b, "labels": k} for b, k in zip(boxes, labels, strict=True)],
            )


def mirrored(boxes: Tensor, width: int) -> Tensor:
    """Boxes (m, 4) of images of some width, left and right exchanged."""
    left, top, right, bottom = boxes.unbind(1)
    return torch.stack([width - right, top, width - left, bottom], 1)


def as_shares(images: Tensor) -> Tensor:
    """Images as float32 with values from 0 to 1."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def as_images(name: str, images: object) -> Tensor:
    """Images (n, C, H, W) of 8 bits, or as float32 with values from 0 to 1.

    Raises:
        ValueError: they are not such images.
    """
    floats = as_floats(name, images, 4, 4)
    if isinstance(images, Tensor) and images.dtype == torch.uint8:
        return images
    low, high = floats.min().item(), floats.max().item()
    got = f"from {low:g} to {high:g}"
    require(name, "of 8 bits, or have values from 0 to 1", got, low >= 0 and high <= 1)
    return floats


def as_targets(
    boxes: Any, labels: Any, count: int, size: Sequence[int]
) -> tuple[list[Tensor], list[Tensor], int]:
    """Boxes (m, 4) and labels (m,) of each image, and how many were left out.

    Boxes are cut off at the borders of their image; those without area then are left out.

    Args:
        boxes: left, top, right and bottom in pixels, for each image.
        labels: from 1, for each image.
        count: of images.
        size: their height and width.

    Raises:
        ValueError: they are not of these forms.
    """
    for name, given in (("boxes", boxes), ("labels", labels)):
        if not isinstance(given, list | tuple) or len(given) != count:
            got = f"{len(given)}" if isinstance(given, list | tuple) else type(given).__name__
            raise ValueError(f"`{name}` must be a list of {count} tensors, one an image, got {got}")
    kept: tuple[list[Tensor], list[Tensor]] = ([], [])
    left_out = 0
    for own, numbers in zip(boxes, labels, strict=True):
        _check_target(own, numbers)
        cut, has_area = inside(own.float().view(-1, 4), size)
        left_out += int((~has_area).sum())
        kept[0].append(cut[has_area])
        kept[1].append(numbers.long()[has_area])
    return *kept, left_out


def count_classes(labels: Sequence[Tensor], num_classes: int | None) -> int:
    """K, with the background, which is class 0.

    Raises:
        ValueError: there is no label, or one is not below K.
    """
    largest = max((int(some.max()) for some in labels if len(some)), default=0)
    require("boxes", "some inside their images", "none", largest > 0)
    if num_classes is None:
        return largest + 1
    require_at_least("num_classes", num_classes, 2)
    allowed = f"above the largest label, {largest}: it counts the background"
    require("num_classes", allowed, num_classes, num_classes > largest)
    return num_classes


def _check_target(boxes: object, labels: object) -> None:
    """Refuse anything but boxes (m, 4) and labels (m,) from 1."""
    if not isinstance(boxes, Tensor) or boxes.ndim != 2 or boxes.shape[1] != 4:
        got = tuple(boxes.shape) if isinstance(boxes, Tensor) else type(boxes).__name__
        raise ValueError(f"`boxes` must have shape (m, 4) for each image, got {got}")
    require("boxes", "finite", "NaN or infinite", bool(torch.isfinite(boxes.float()).all()))
    is_integer = isinstance(labels, Tensor) and not (
        labels.is_floating_point() or labels.is_complex()
    )
    if not isinstance(labels, Tensor) or not is_integer or labels.shape != boxes.shape[:1]:
        got = tuple(labels.shape) if isinstance(labels, Tensor) else type(labels).__name__
        raise ValueError(f"`labels` must have an integer for each box, ({len(boxes)},), got {got}")
    least = int(labels.min()) if len(labels) else 1
    require("labels", "at least 1, as 0 is the background", least, least > 0)
