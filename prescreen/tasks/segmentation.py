"""SegmentationTask: a class for every pixel of an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from prescreen.checks import require
from prescreen.predictions import Link, model_logits
from prescreen.tasks.images.dataset import InMemory
from prescreen.tasks.images.preparation import Preparation, Statistics
from prescreen.tasks.images.probe_batch import warn_of_shift
from prescreen.tasks.images.task import Augment
from prescreen.tasks.images.views import mirrored_and_back
from prescreen.tasks.masks.batches import MaskBatches, as_masks, as_pixels, count_classes
from prescreen.tasks.masks.folders import read_folder
from prescreen.tasks.tensors import TensorData, input_sizes
from prescreen.text import showing


class SegmentationTask:
    """One of K classes for every pixel; training minimises the mean cross-entropy of annotated pixels.

    Models return logits (B, K, h, w) of any resolution, alone, as ``.logits``, or in a dict as
    ``"logits"`` or ``"out"``. With K = 1, one logit says whether a pixel is foreground: the link is then
    sigmoid, and the loss binary cross-entropy. Builders may accept ``num_classes`` (K), ``in_channels``
    and ``image_size``. For readouts every place of the logits of the probe is a sample. The view is
    mirrored, and its predictions are mirrored back.

    A model that predicts one class for all pixels has not failed: after brief training many do.

    Args:
        images: (n, C, H, W), uint8 or floating-point. They get zero mean and unit deviation per channel
            of the training images, unless `mean` and `std` are given.
        masks: class indices (n, H, W), integers.
        num_classes: K; by default one more than the largest index, and at least 2. 1 for a single logit
            a pixel, with masks of 0 and 1.
        ignore_index: pixels of this value are left out of the loss; None if there are none.
        probe: unlabelled images (N, C, H, W) that training does not use, in the form of `images`; None
            to hold `probe_size` of them out.
        probe_size: N, if the probe is held out.
        seed: of the draw of the probe.
        augment: True shifts images by up to an eighth of their size (what comes in is reflected) and
            mirrors them from left to right at random, with their masks; ``"crop"`` does not mirror.
        mean: of each channel or of all, of values from 0 to 1: images of 8 bits are divided by 255
            first.
        std: deviation, likewise.
        view: a function that changes images but not what they show, instead of mirroring them.
        name: the task's name.

    Raises:
        ValueError: shapes or values are not as above, or lengths are unequal.
    """

    collapses = False

    # Chosen on half of the candidates of the evidence; of checkpoints, on its runs (docs/evidence.md).
    panel = ("ahead/mutual_information", "isotropy", "flops")
    checkpoint_panel = ("view_information",)

    __repr__ = showing(name="name", sizes="sizes", probe="probe")

    def __init__(
        self,
        images: Tensor,
        masks: Tensor,
        *,
        num_classes: int | None = None,
        ignore_index: int | None = 255,
        probe: Tensor | None = None,
        probe_size: int = 64,
        seed: int = 0,
        augment: Augment = False,
        mean: Statistics | None = None,
        std: Statistics | None = None,
        view: Callable[[Any], Any] | None = None,
        name: str = "segmentation",
    ) -> None:
        require("augment", "True, False or 'crop'", augment, augment in (True, False, "crop"))
        images = as_pixels("images", images)
        probe = None if probe is None else as_pixels("probe", probe)
        masks = as_masks(masks, (len(images), *images.shape[2:]))
        num_classes = count_classes(masks, num_classes, ignore_index)
        data = TensorData.split(images, masks, probe, probe_size, seed)
        assert isinstance(data.inputs, Tensor)
        assert isinstance(data.probe, Tensor)
        preparation = Preparation.of(mean, std, None)
        moments = preparation.moments(InMemory(data.inputs, data.targets), Generator())
        self.name, self.num_classes, self.ignore_index = name, num_classes, ignore_index
        self.link: Link = "sigmoid" if num_classes == 1 else "softmax"
        self.probe = moments.normalize(data.probe)
        self.batches = MaskBatches(data, moments, augment)
        self.sizes: Mapping[str, Any] = {"num_classes": num_classes, **input_sizes(images)}
        self._view = mirrored_and_back if view is None else view

    @classmethod
    def from_folder(
        cls,
        path: str | Path,
        *,
        instances: bool = False,
        num_classes: int | None = None,
        ignore_index: int | None = 255,
        probe: str | Path | None = None,
        probe_size: int = 64,
        seed: int = 0,
        augment: Augment = True,
        image_size: int | None = None,
        mean: Statistics | None = None,
        std: Statistics | None = None,
        name: str | None = None,
    ) -> SegmentationTask:
        """A task from a folder of images beside one of masks of the same names (docs/tasks.md).

        Args:
            path: the folder.
            instances: masks number objects, as integers of any size; all but 0 are foreground.
            num_classes: K, as above.
            ignore_index: as above.
            probe: a folder of unlabelled images that the probe is drawn from. By default it is drawn
                from a validation split, else a test split; else at most a quarter of the training
                images are held out.
            probe_size: the most images of the probe.
            seed: of the draw of the probe.
            augment: as above.
            image_size: height and width of all images in pixels; by default their own, or the median
                of 64 images if sizes differ.
            mean: as above.
            std: as above.
            name: the task's name; by default the path.

        Raises:
            ValueError: images or masks are not there, do not fit together or cannot be read.
        """
        read = read_folder(
            path,
            instances=instances,
            ignore_index=ignore_index,
            num_classes=num_classes,
            probe=probe,
            probe_size=probe_size,
            seed=seed,
            image_size=image_size,
        )
        task = cls(
            read.images,
            read.masks,
            num_classes=read.num_classes,
            ignore_index=ignore_index,
            probe=read.probe,
            seed=seed,
            augment=augment,
            mean=mean,
            std=std,
            name=str(path) if name is None else name,
        )
        if read.apart and mean is None:
            warn_of_shift(task.probe)
        return task

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the data, the probe, how they are prepared and augmented, and the view's name."""
        batches = self.batches
        parts = (self.num_classes, self.ignore_index, batches.augment, *batches.moments)
        return batches.data.fingerprint("segmentation", self._view, *parts)

    def inputs(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The images (B, C, H, W) of a batch."""
        return batch[0]

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Mean cross-entropy of the annotated pixels, of logits that are interpolated to them.

        The masks are not reduced to the logits instead: small objects would vanish, and the losses of
        models of different strides would be of different pixels.
        """
        images, masks = batch
        logits = model_logits(model(images))
        if logits.ndim != 4 or logits.shape[:2] != (len(images), self.num_classes):
            raise ValueError(
                f"`model` must return logits of shape ({len(images)}, {self.num_classes}, h, w), "
                f"got {tuple(logits.shape)}"
            )
        if logits.shape[2:] != masks.shape[1:]:
            logits = functional.interpolate(logits, masks.shape[1:], mode="bilinear")
        counted = torch.ones_like(masks, dtype=torch.bool)
        if self.ignore_index is not None:
            counted = masks != self.ignore_index
        if self.link == "sigmoid":
            losses = functional.binary_cross_entropy_with_logits(
                logits[:, 0], masks.to(logits), reduction="none"
            )
        else:
            losses = functional.cross_entropy(logits, masks * counted, reduction="none")
        # A batch may have no annotated pixel.
        return torch.where(counted, losses, 0.0).sum() / counted.sum().clamp_min(1)

    def views(self, inputs: Tensor) -> Any | None:
        """The images mirrored, with maps of predictions mirrored back, or as the given view has them."""
        return self._view(inputs)
