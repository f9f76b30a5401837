"""DetectionTask: objects in images, each with a box and a class."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn

from prescreen.checks import require, require_one_of
from prescreen.part import Part
from prescreen.predictions import Link
from prescreen.tasks.boxes.batches import (
    Batch,
    BoxBatches,
    as_images,
    as_shares,
    as_targets,
    count_classes,
)
from prescreen.tasks.boxes.reading import FORMATS, STRIDE, read_boxes
from prescreen.tasks.images.views import mirrored_and_back
from prescreen.tasks.rows import digest, draw_rows
from prescreen.tasks.tensors import input_sizes
from prescreen.text import showing

logger = logging.getLogger(__name__)


class DetectionTask:
    """Boxes and classes of objects; training minimises the sum of the losses that a model returns.

    Models are called as torchvision's detectors: in training mode with a list of images and a list of
    targets, for which they return a dict of losses; in evaluation mode with images alone, a tensor
    (N, C, H, W). Images have values from 0 to 1; models standardise them themselves. Labels count from
    1; builders may accept ``num_classes`` (K, with the background, which is class 0), ``in_channels``
    and ``image_size`` (height and width).

    Read are the ``classes`` of all places or anchors and, as parts, ``classes`` without the background
    and ``boxes`` (docs/tasks.md). The view is mirrored, and its maps are mirrored back; of boxes left
    and right would be exchanged, so they have no readouts that need a view.

    Args:
        images: (n, C, H, W): of 8 bits, or floating-point with values from 0 to 1.
        boxes: for each image (m, 4): left, top, right and bottom in pixels. They are cut off at the
            borders; those without area then are left out, which is logged.
        labels: for each image (m,): integers from 1.
        num_classes: K; by default one more than the largest label.
        link: how logits of classes become predictions: ``"sigmoid"``, as in RetinaNet and FCOS, or
            ``"softmax"``, as in SSD and Faster R-CNN.
        probe: unlabelled images (N, C, H, W) that training does not use, in the form of `images`; None
            to hold `probe_size` of them out.
        probe_size: N, if the probe is held out.
        seed: of the draw of the probe.
        augment: mirror images with their boxes from left to right at random.
        view: a function that changes images but not what they show, instead of mirroring them.
        classes: names of the classes from 1, if known.
        name: the task's name.

    Raises:
        ValueError: shapes or values are not as above.
    """

    # A model that finds nothing yet has not failed.
    collapses = False

    # Confidence in classes and size order detectors the other way round (docs/evidence.md, "Detection").
    panel = ("boxes:sample_gradient",)
    checkpoint_panel = ("classes:stable_information",)

    __repr__ = showing(name="name", sizes="sizes", probe="probe")

    def __init__(
        self,
        images: Tensor,
        boxes: Sequence[Tensor],
        labels: Sequence[Tensor],
        *,
        num_classes: int | None = None,
        link: Link = "sigmoid",
        probe: Tensor | None = None,
        probe_size: int = 64,
        seed: int = 0,
        augment: bool = False,
        view: Callable[[Any], Any] | None = None,
        classes: Iterable[str] | None = None,
        name: str = "detection",
    ) -> None:
        require_one_of("link", link, ("sigmoid", "softmax"))
        require("augment", "True or False", augment, augment in (True, False))
        images = as_images("images", images)
        own, numbers, left_out = as_targets(boxes, labels, len(images), images.shape[2:])
        if left_out:
            logger.warning("%s: left out %d boxes without area in their image", name, left_out)
        num_classes = count_classes(numbers, num_classes)
        if probe is None:
            generator = Generator().manual_seed(seed)
            held, rest = draw_rows(len(images), probe_size, generator, leave=1)
            probe, images = images[held], images[rest]
            own, numbers = ([some[row] for row in rest.tolist()] for some in (own, numbers))
        else:
            probe = as_images("probe", probe)
            allowed = f"at least 2 images of {images.dtype} like those of {tuple(images.shape[1:])}"
            alike = (probe.dtype, probe.shape[1:]) == (images.dtype, images.shape[1:])
            got = f"{probe.dtype} {tuple(probe.shape)}"
            require("probe", allowed, got, alike and len(probe) > 1)
        self.name, self.link, self._view = name, link, view
        self.classes = None if classes is None else tuple(classes)
        self.probe = as_shares(probe)
        self.batches = BoxBatches(images, own, numbers, bool(augment))
        self.sizes: Mapping[str, Any] = {"num_classes": num_classes, **input_sizes(images)}
        # Softmax over a single class would be 1.
        background = 0 if link == "softmax" and num_classes > 2 else None
        self.parts: Mapping[str, Part] = {
            "classes": Part(link, "classes", background=background),
            "boxes": Part("identity", "boxes"),
        }

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        form: str = "voc",
        *,
        num_classes: int | None = None,
        link: Link = "sigmoid",
        probe: str | Path | None = None,
        probe_size: int = 64,
        seed: int = 0,
        augment: bool = True,
        image_size: int | tuple[int, int] | None = None,
        name: str | None = None,
    ) -> DetectionTask:
        """A task from a folder in the format of Pascal VOC or of COCO (docs/tasks.md).

        Args:
            path: the folder.
            form: ``"voc"`` or ``"coco"``.
            num_classes: K, as above; by default one more than there are classes.
            link: as above.
            probe: a folder of unlabelled images that the probe is drawn from. By default it is drawn
                from a validation split, else a test split; else at most a quarter of the training
                images are held out.
            probe_size: the most images of the probe; it has fewer if they have more than 2²⁴ values.
            seed: of the draw of the probe.
            augment: as above.
            image_size: the longer side of all images in pixels, or their height and width. By default
                the longer side is that of the median of 64 images, at most 320. Unless both are given,
                the aspect is that of the median, and both are brought to multiples of 32.
            name: the task's name; by default the path.

        Raises:
            ValueError: images or annotations are not there, do not fit together or cannot be read.
        """
        require_one_of("form", form, FORMATS)
        read = read_boxes(
            path, form, probe=probe, probe_size=probe_size, seed=seed, image_size=image_size
        )
        return cls(
            read.images,
            read.boxes,
            read.labels,
            num_classes=len(read.classes) + 1 if num_classes is None else num_classes,
            link=link,
            probe=read.probe,
            seed=seed,
            augment=augment,
            classes=read.classes,
            name=str(path) if name is None else name,
        )

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the data, the probe, the number of classes, the link and the view's name."""
        view = getattr(self._view, "__qualname__", type(self._view).__qualname__)
        parts = ("detection", self.sizes["num_classes"], self.link, view)
        digests = (self.batches.digest(), digest(self.probe))
        return hashlib.sha256(repr((*digests, *parts)).encode()).hexdigest()[:16]

    def inputs(self, batch: Batch) -> Tensor:
        """The images (B, C, H, W) of a batch."""
        return batch[0]

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The sum of the losses that the model returns in training mode.

        Raises:
            ValueError: it returns something else.
        """
        images, targets = batch
        losses = model(list(images), targets)
        is_losses = isinstance(losses, Mapping) and bool(losses)
        if not is_losses or not all(isinstance(one, Tensor) for one in losses.values()):
            raise ValueError(
                "`model` must return a dict of losses in training mode, as torchvision's detectors, "
                f"got {type(losses).__name__}"
            )
        return torch.stack([one.sum() for one in losses.values()]).sum()

    def views(self, inputs: Tensor) -> Any | None:
        """The images mirrored, with maps of predictions mirrored back, or as the given view has them.

        Images whose width is no multiple of 32 have none: detectors pad them on one side, so that places
        do not come back.
        """
        if self._view is not None:
            return self._view(inputs)
        return None if inputs.shape[-1] % STRIDE else mirrored_and_back(inputs)
