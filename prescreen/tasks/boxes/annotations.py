"""Annotations: what a folder says of the objects in its images, whatever the format."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from prescreen.tasks.images.folders import ImageFiles
from prescreen.tasks.images.walk import shown

Box = tuple[float, float, float, float]


class Objects(NamedTuple):
    """The objects of an image: boxes (left, top, right, bottom) in pixels of its file, and classes."""

    boxes: list[Box]
    labels: list[int]


class Annotated(NamedTuple):
    """Training images and the objects of each, names of the classes, and images for the probe.

    Labels count from 1; ``probe`` is None if the probe must be held out. ``left_out`` says how many of
    what is not used.
    """

    images: ImageFiles
    objects: list[Objects]
    classes: tuple[str, ...]
    probe: ImageFiles | None
    left_out: Counter[str]


def unreadable(path: Path | str, reason: str) -> ValueError:
    """The refusal of a file of annotations, in one line."""
    return ValueError(f"`data` must have sound annotations, got {shown(path)}: {reason}")


def as_box(values: Iterable[Any], path: Path | str) -> Box:
    """Four finite numbers.

    Raises:
        ValueError: they are not.
    """
    given = list(values)
    try:
        numbers = [float(value) for value in given]
    except (TypeError, ValueError, OverflowError):
        numbers = []
    if len(numbers) != 4 or not all(map(math.isfinite, numbers)):
        raise unreadable(path, f"a box of {str(given)[:60]}")
    left, top, right, bottom = numbers
    return left, top, right, bottom


def inside(boxes: Tensor, size: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Boxes (n, 4) cut off at the borders of an image, and which of them (n,) have an area then.

    Args:
        boxes: left, top, right and bottom in pixels.
        size: height and width of the image.
    """
    height, width = size
    cut = torch.minimum(boxes.clamp(min=0), boxes.new_tensor([width, height, width, height]))
    return cut, (cut[:, 2:] > cut[:, :2]).all(1)
