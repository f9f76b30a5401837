"""Images with their boxes, from annotated files to tensors of one size."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor

from prescreen.checks import require, require_at_least
from prescreen.tasks.boxes.annotations import Annotated, Objects, inside
from prescreen.tasks.boxes.coco import open_coco
from prescreen.tasks.boxes.voc import open_voc
from prescreen.tasks.images import dataset as images
from prescreen.tasks.images.folders import ImageFiles, say_left_out
from prescreen.tasks.images.layouts import Layout, fit
from prescreen.tasks.images.probe_batch import choose_probe
from prescreen.tasks.images.unlabelled import open_images
from prescreen.tasks.images.walk import require_folder, shown

logger = logging.getLogger(__name__)

FORMATS: Mapping[str, Callable[[Path], Annotated]] = MappingProxyType(
    {"voc": open_voc, "coco": open_coco}
)

# Both sides are multiples of this, the largest stride of usual detectors: these pad images otherwise.
STRIDE = 32
_LONGEST = 320

# The most values of the probe, 64 MiB in float32: models are read on all of it at once.
_PROBE_VALUES = 1 << 24


class Boxed(NamedTuple):
    """Images (n, 3, H, W) of 8 bits with boxes (m, 4) and labels (m,) of each, and probe images.

    ``apart`` says whether the probe is from other files, and not held out.
    """

    images: Tensor
    boxes: list[Tensor]
    labels: list[Tensor]
    classes: tuple[str, ...]
    probe: Tensor
    apart: bool


def read_boxes(
    path: str | Path,
    form: str,
    *,
    probe: str | Path | None,
    probe_size: int,
    seed: int,
    image_size: int | tuple[int, int] | None,
) -> Boxed:
    """Read a folder into memory; the arguments are those of ``DetectionTask.from_folder``.

    What is left out is logged in one line.

    Raises:
        ValueError: images or annotations are not there, or one cannot be read.
    """
    require_at_least("probe_size", probe_size, 2)
    found = FORMATS[form](require_folder("data", path))
    if not sum(len(objects.labels) for objects in found.objects):
        got = f"none in {len(found.images)} images in {shown(path)}"
        raise ValueError(f"`data` must have objects to train on, got {got}")
    held = found.probe if probe is None else open_images(require_folder("probe", probe))
    size = min(probe_size, max(2, len(found.images) // 4) if held is None else len(held))
    generator = Generator().manual_seed(seed)
    source, chosen, rows = choose_probe(found.images, held, size, generator)
    layout = Layout(3, *_size(found.images, rows, image_size), torch.uint8)
    values = 3 * layout.height * layout.width
    chosen = chosen[: max(2, _PROBE_VALUES // values)]
    if len(chosen) < size:
        logger.warning("the probe has %d images, not %d: 2^24 values", len(chosen), size)
    rows = rows[torch.tensor([bool(found.objects[row].labels) for row in rows.tolist()])]
    if values * len(rows) > images.MEMORY_LIMIT:
        order = torch.randperm(len(rows), generator=generator)
        rows = rows[order[: images.MEMORY_LIMIT // values].sort().values]
        logger.warning("%d of the images are drawn: 4 GiB are held in memory", len(rows))
    read = [torch.empty(len(some), *layout[:3], dtype=torch.uint8) for some in (rows, chosen)]
    boxes, labels, kept = [], [], []
    left_out = found.left_out
    for i, row in enumerate(rows.tolist()):
        read[0][i], height, width = _image(found.images, row, layout)
        own, numbers = _scaled(found.objects[row], (height, width), layout)
        left_out["boxes without area in their image"] += len(found.objects[row].labels) - len(own)
        kept.append(bool(len(own)))
        boxes += [own] if kept[-1] else []
        labels += [numbers] if kept[-1] else []
    for i, row in enumerate(chosen.tolist()):
        read[1][i] = _image(source, row, layout)[0]
    used = len(chosen) * (held is None) + len(boxes)
    left_out["images without objects"] += len(found.images) - used
    say_left_out(Path(path), left_out)
    return Boxed(
        read[0][torch.tensor(kept)], boxes, labels, found.classes, read[1], held is not None
    )


def _size(
    files: ImageFiles, rows: Tensor, image_size: int | tuple[int, int] | None
) -> tuple[int, int]:
    """Height and width: as given, or the median's aspect with the longer side bounded."""
    if isinstance(image_size, tuple | list):
        allowed = "the longer side, or height and width"
        require("image_size", allowed, image_size, len(image_size) == 2)
        for length in image_size:
            require_at_least("image_size", length, 1)
        return image_size[0], image_size[1]
    if image_size is not None:
        require_at_least("image_size", image_size, 1)
    own = images.common_layout(files, rows, None)
    longest = max(own.height, own.width)
    scale = (min(longest, _LONGEST) if image_size is None else image_size) / longest
    height, width = (
        max(STRIDE, STRIDE * int(length * scale / STRIDE + 0.5))
        for length in (own.height, own.width)
    )
    return height, width


def _image(files: Any, row: int, layout: Layout) -> tuple[Tensor, int, int]:
    """An image of a layout, and its own height and width."""
    image = images.read_image(files, row)
    try:
        return fit(image[None], layout)[0], *image.shape[1:]
    except ValueError as error:
        error.args = (f"{error} in {files.origin(row)}",)
        raise


def _scaled(objects: Objects, size: Sequence[int], layout: Layout) -> tuple[Tensor, Tensor]:
    """The boxes and labels that have an area inside their image, in its new size."""
    cut, has_area = inside(torch.tensor(objects.boxes).view(-1, 4), size)
    height, width = layout.height / size[0], layout.width / size[1]
    boxes = cut[has_area] * torch.tensor([width, height, width, height])
    return boxes, torch.tensor(objects.labels)[has_area]
