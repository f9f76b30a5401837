"""ImageTask: classification (or the like) of images, from a data set or the user's own loader."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from prescreen.checks import require, require_at_least
from prescreen.predictions import Link, check_link, model_logits
from prescreen.tasks.images import dataset as images
from prescreen.tasks.images.batches import DatasetBatches, LoaderBatches
from prescreen.tasks.images.layouts import is_clearly_channels_last
from prescreen.tasks.images.preparation import Preparation, Statistics
from prescreen.tasks.images.probe_batch import check_probe, choose_probe, warn_of_shift
from prescreen.tasks.images.views import Moved, shifted_images
from prescreen.tasks.rows import digest
from prescreen.text import showing

Augment = bool | Literal["crop"]
Batches = Callable[[int, int], Iterator[tuple[Tensor, Tensor]]]


@dataclass(frozen=True, eq=False)
class ImageTask:
    """A task with images as inputs and a loss of logits and targets.

    It offers builders the sizes ``num_classes``, ``in_channels`` and ``image_size``. Its view is
    ``shifted``; images with a single column have none.

    Args:
        name: the name that the user gave; two names may mean the same task.
        probe: unlabelled inputs that training does not use, float32 (N, C, H, W), normalised as
            training inputs are.
        num_classes: K, the width of a candidate's head; None if it is not known, for images without
            labels.
        in_channels: C.
        image_size: (H, W) in pixels.
        batches: ``batches(batch_size, seed)`` gives (inputs, targets) without end; one seed always
            gives the same batches, and global random state is neither read nor changed.
        criterion: the loss that training minimises, ``criterion(logits, targets)``.
        link: how logits become predictions: ``"softmax"``, ``"sigmoid"`` or ``"identity"``.
        classes: what each of the K stands for, such as names of folders; None for class indices.
        prepared: how images became inputs, a sentence.

    Raises:
        ValueError: a probe batch or number of classes that no candidate can be read on.
    """

    name: str
    probe: Tensor
    num_classes: int | None
    in_channels: int
    image_size: tuple[int, int]
    batches: Batches
    criterion: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy
    link: Link = "softmax"
    classes: tuple[Any, ...] | None = None
    prepared: str = ""

    __repr__ = showing(name="name", sizes="sizes", probe="probe")

    def __post_init__(self) -> None:
        check_link(self.link)
        least = 2 if self.link == "softmax" else 1
        if self.num_classes is not None and self.num_classes < least:
            raise ValueError(
                f"`num_classes` must be at least {least} with link={self.link!r}, "
                f"got {self.num_classes}"
            )
        check_probe(self.probe)
        if self.probe.shape[1:] != (self.in_channels, *self.image_size):
            height, width = self.image_size
            raise ValueError(
                f"`probe` must have the shape (N, {self.in_channels}, {height}, {width}) of "
                f"in_channels and image_size, got {tuple(self.probe.shape)}"
            )

    @property
    def sizes(self) -> Mapping[str, Any]:
        """``num_classes`` if known, ``in_channels``, and ``image_size`` as (H, W) in pixels."""
        known = {} if self.num_classes is None else {"num_classes": self.num_classes}
        return {**known, "in_channels": self.in_channels, "image_size": self.image_size}

    @cached_property
    def fingerprint(self) -> str:
        """A short hash, equal if two tasks are the same measurement, whatever their names.

        It covers the probe batch, classes, link, the criterion's name, the number of training samples,
        augmentation, and the training data if they are in memory.
        """
        of_batches = getattr(self.batches, "digest", None)
        # Journals hold the hash of exactly these parts: with others, earlier runs cannot be continued.
        parts = (
            digest(self.probe),
            self.num_classes,
            self.link,
            getattr(self.criterion, "__qualname__", type(self.criterion).__qualname__),
            of_batches() if of_batches is not None else "",
        )
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]

    def on(self, device: torch.device) -> ImageTask:
        """The same task whose batches are made on a device, if its images fit there."""
        batches = self.batches
        placed = batches.on(device) if isinstance(batches, DatasetBatches) else batches
        return self if placed is batches else replace(self, batches=placed)

    def inputs(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The images (B, C, H, W) of a batch."""
        return batch[0]

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The criterion of the model's logits and the targets."""
        inputs, targets = batch
        return self.criterion(model_logits(model(inputs)), targets)

    def views(self, inputs: Tensor) -> Moved | None:
        """The images ``shifted`` to the right; None if they have a single column."""
        return shifted_images(inputs)

    @classmethod
    def from_dataset(
        cls,
        dataset: Dataset[Any],
        *,
        num_classes: int | None = None,
        probe: Tensor | Dataset[Any] | None = None,
        probe_size: int = 256,
        seed: int = 0,
        augment: Augment = False,
        image_size: int | None = None,
        mean: Statistics | None = None,
        std: Statistics | None = None,
        preprocess: str | None = None,
        name: str = "dataset",
    ) -> ImageTask:
        """A classification task from a map-style data set of (image tensor, class index).

        Images are uint8 or float, (C, H, W) or (H, W), or (H, W, C) where that is clear, and get
        zero mean and unit deviation per channel of the training images. Up to 4 GiB of them
        (``images.MEMORY_LIMIT``) are read once and kept; above that they are read again for every
        batch. Leave random transforms out of the data set: they would be frozen, or not depend on
        `seed`.

        Args:
            dataset: the training data.
            num_classes: K; by default the length of the data set's ``classes``, or one more than its
                largest label. Labels far sparser than that are numbered in order: ``classes``.
            probe: unlabelled inputs that training does not use, in the data set's form: a tensor
                (N, C, H, W), or a data set that `probe_size` images are drawn from (its labels are
                ignored). By default they are held out of `dataset`.
            probe_size: N, if the probe batch is drawn.
            seed: of the draw of the probe batch.
            augment: True pads by an eighth of the size, crops and flips from left to right;
                ``"crop"`` does not flip.
            image_size: height and width of all images in pixels; by default their own, or the median
                of 64 images if sizes differ. The aspect is not kept.
            mean: of each channel or of all, instead of the training images' own, of values from 0
                to 1: images of 8 bits are divided by 255 first, float images are taken as they are.
            std: deviation, likewise.
            preprocess: ``"timm:NAME"`` or ``"torchvision:NAME"``: images are resized, cropped and
                normalised as for that model in evaluation; nothing is downloaded.
            name: the task's name.

        Warns:
            UserWarning: the probe batch is unlike the training images.

        Raises:
            ValueError: items or labels are not as above, or the probe size is too large.
        """
        if augment not in (True, False, "crop"):
            raise ValueError(f"`augment` must be True, False or 'crop', got {augment!r}")
        if image_size is not None:
            require_at_least("image_size", image_size, 1)
            require("image_size", "None with `preprocess`", image_size, preprocess is None)
        preparation = Preparation.of(mean, std, preprocess)
        generator = Generator().manual_seed(seed)
        source, chosen, rows = choose_probe(dataset, probe, probe_size, generator)
        dataset, source = preparation.dataset(dataset), preparation.dataset(source)
        samples, num_classes, classes = preparation.load(dataset, rows, num_classes, image_size)
        moments = preparation.moments(samples, generator)
        layout = samples.layout
        inputs = torch.cat(
            [images.read_image(source, row, layout)[None] for row in chosen.tolist()]
        )
        normalized = moments.normalize(inputs)
        if probe is not None and preparation == Preparation():  # else it is of the same images
            warn_of_shift(normalized)
        return cls(
            name=name,
            probe=normalized,
            num_classes=num_classes,
            in_channels=layout.channels,
            image_size=(layout.height, layout.width),
            batches=DatasetBatches(samples, moments, crop=bool(augment), flip=augment is True),
            classes=classes,
            prepared=preparation.said(layout),
        )

    @classmethod
    def from_loader(
        cls,
        loader: DataLoader[Any],
        *,
        probe: Tensor,
        num_classes: int,
        criterion: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
        link: Link = "softmax",
        name: str = "loader",
    ) -> ImageTask:
        """A task from a DataLoader of (images, targets), used as they are and cycled.

        The loader keeps its own batch size; the batch size of training is ignored. A seed fixes all
        that the loader draws from torch on the CPU: its order, and the transforms of a loader without
        workers. It does not fix what transforms draw from NumPy or ``random``, from a sampler's own
        generator, or on a GPU. The fingerprint covers only the number of training samples. A loader's
        own generator is re-seeded, so only one iterator of its batches can be used at a time.

        Args:
            loader: training batches; every pass over it is an epoch.
            probe: inputs that training does not use, float32 (N, C, H, W), prepared as the
                loader's are. They cannot be drawn from the loader, which is all training data.
            num_classes: K.
            criterion: the loss that training minimises, ``criterion(logits, targets)``.
            link: how logits become predictions.
            name: the task's name.

        Raises:
            ValueError: a probe batch or number of classes that no candidate can be read on.
        """
        check_probe(probe)
        _, channels, height, width = probe.shape
        if is_clearly_channels_last(probe.shape[1:]):
            raise ValueError(f"`probe` must be (N, C, H, W), got (N, H, W, C) {tuple(probe.shape)}")
        batches = LoaderBatches(loader)
        return cls(name, probe, num_classes, channels, (height, width), batches, criterion, link)
