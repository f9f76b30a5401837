"""DiffusionTask: the noise in images, or the images in noise; no annotation is needed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import astuple
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from prescreen.checks import require_kind, require_one_of
from prescreen.part import Part
from prescreen.predictions import Link, model_logits
from prescreen.tasks.evaluating import evaluating
from prescreen.tasks.images.named import may_be_mirrored, open_unlabelled
from prescreen.tasks.images.pixels import read_pixels
from prescreen.tasks.images.views import mirrored_and_back
from prescreen.tasks.masks.batches import as_pixels
from prescreen.tasks.noising import (
    Beta,
    Noised,
    NoisedBatches,
    Noising,
    Prediction,
    images_of_probe,
    rows_of_bands,
    to_unit_range,
)
from prescreen.tasks.rows import digest
from prescreen.tasks.tensors import input_sizes
from prescreen.text import showing
from prescreen.trees import map_tensors, to_device

# How many samples of the probe are evaluated at once.
_AT_ONCE = 64


class DiffusionTask:
    """What is noise in an image x_t; training minimises the mean squared error of the prediction.

    Models are called with x_t (B, C, H, W) and times t (B,), integers from 0 to T − 1. They return the
    prediction (B, C, H, W), alone or as ``.sample``. Builders may accept ``num_classes`` and
    ``in_channels`` (both C), ``image_size``, and ``with_time``, which is True.

    The probe is ordered by its times, which are spread evenly. Its bands are read apart, as in
    ``"small_t:rankme"``: noise is up to a tenth of the variance of x_t in ``small_t``, up to nine tenths
    in ``middle_t``, and more in ``large_t``.

    Args:
        images: (n, C, H, W), uint8 or floating-point. They are scaled so that the smallest and the
            largest value of the training images are −1 and 1.
        prediction: ``"epsilon"``, the noise; ``"v"``, √ᾱ ε − √(1 − ᾱ) x₀; or ``"x0"``, the image.
        schedule: of the noise, ``"linear"`` or ``"cosine"``: see `Noising`.
        steps: T.
        probe: images (N, C, H, W) that training does not use, in the form of `images`; None to hold
            `probe_size` of them out.
        probe_size: N, if the probe is held out.
        seed: of the draw of the probe and its noise.
        augment: True mirrors training images from left to right at random.
        view: a function that changes the inputs (x_t, t) but not what they show, instead of mirroring.
        name: the task's name.

    Raises:
        ValueError: an argument is not as above, or a band of times has no sample in the probe.
    """

    link: Link = "identity"

    # The target is known, and nothing else orders U-Nets as well (docs/evidence.md, "Diffusion").
    panel = ("ahead/held_out_loss",)
    checkpoint_panel = ("held_out_loss",)

    __repr__ = showing(name="name", sizes="sizes", probe="probe")

    def __init__(
        self,
        images: Tensor,
        *,
        prediction: Prediction = "epsilon",
        schedule: Beta = "linear",
        steps: int = 1000,
        probe: Tensor | None = None,
        probe_size: int = 256,
        seed: int = 0,
        augment: bool = False,
        view: Callable[[Any], Any] | None = None,
        name: str = "diffusion",
    ) -> None:
        require_kind("augment", augment, bool)
        noising = Noising(prediction, schedule, steps)
        generator = Generator().manual_seed(seed)
        training, held = images_of_probe(as_pixels("images", images), probe, probe_size, generator)
        moments = to_unit_range(training)
        self.name, self._view = name, view
        self.batches = NoisedBatches(training, moments, noising, augment)
        times = ((torch.arange(len(held)) + 0.5) * steps / len(held)).long()
        noise = torch.randn(held.shape, generator=generator)
        self._probe = noising(moments.normalize(held), times, noise)
        self.probe = self.inputs(self._probe)
        self._rows = rows_of_bands(1 - noising.kept[times])
        self.parts = {
            band: Part(self.link, share=(rows.start / len(held), rows.stop / len(held)))
            for band, rows in self._rows.items()
        }
        size, channels = input_sizes(training), training.shape[1]
        self.sizes: Mapping[str, Any] = {"num_classes": channels, **size, "with_time": True}

    @classmethod
    def from_data(
        cls,
        data: str | Path,
        *,
        prediction: Prediction = "epsilon",
        schedule: Beta = "linear",
        steps: int = 1000,
        probe: str | Path | None = None,
        probe_size: int = 256,
        seed: int = 0,
        augment: bool = True,
        image_size: int | None = None,
        root: str | Path | None = None,
        name: str | None = None,
    ) -> DiffusionTask:
        """A task from a named data set, or any files of images that ``load_task`` reads.

        Labels are not read, so images need none.

        Args:
            data: a name such as ``"cifar10"``, or a path; all images below a folder are taken.
            prediction: as above.
            schedule: as above.
            steps: as above.
            probe: a path of images that the probe is drawn from; by default the validation images, else
                the test images; else they are held out.
            probe_size: the most samples of the probe.
            seed: as above.
            augment: as above, but that images known to be of characters or signs are never mirrored.
            image_size: height and width of all images in pixels; by default their own, or the median
                of 64 images if sizes differ.
            root: the folder of downloaded data sets; by default ``~/.cache/prescreen``.
            name: the task's name; by default `data`.

        Raises:
            ValueError: the data do not exist, cannot be read, or have too few images.
        """
        splits = open_unlabelled(data, root)
        held: Any = splits.probe if probe is None else open_unlabelled(probe, root).train
        size = probe_size if held is None else min(probe_size, len(held))
        read = read_pixels(splits.train, held, probe_size=size, seed=seed, image_size=image_size)
        return cls(
            read.images,
            prediction=prediction,
            schedule=schedule,
            steps=steps,
            probe=read.probe,
            seed=seed,
            augment=augment and may_be_mirrored(data),
            name=str(data) if name is None else name,
        )

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the data, the probe, the prediction, the schedule, and the view's name."""
        batches = self.batches
        view = getattr(self._view, "__qualname__", type(self._view).__qualname__)
        digests = [digest(batches.images), digest(*self._probe)]
        parts = ("diffusion", digests, *batches.moments, astuple(batches.noising), batches.mirror)
        return hashlib.sha256(repr((*parts, view)).encode()).hexdigest()[:16]

    @property
    def targets(self) -> Tensor:
        """What is to be predicted at every place of the probe, (N·H·W, C)."""
        return self._probe.target.movedim(1, -1).flatten(0, 2)

    def inputs(self, batch: Noised) -> tuple[Tensor, Tensor]:
        """(x_t, t) of a batch."""
        return batch.images, batch.times

    def loss(self, model: nn.Module, batch: Noised) -> Tensor:
        """Mean squared error of the prediction."""
        predicted = model_logits(model(*self.inputs(batch)))
        if predicted.shape != batch.target.shape:  # torch would stretch one to the other
            raise ValueError(
                f"`model` must return a prediction of shape {tuple(batch.target.shape)}, "
                f"got {tuple(predicted.shape)}"
            )
        return functional.mse_loss(predicted, batch.target)

    def held_out_loss(self, model: nn.Module, band: str | None = None) -> float:
        """The loss on the probe, or one of its bands, in eval mode; lower is better.

        No annotation is needed, and the model stays as it was. As a measurement beside readouts:
        ``rank(..., extra={"loss": task.held_out_loss})``. The readout ``"held_out_loss"`` is that of
        the places that are read.

        Raises:
            ValueError: an unknown band.
        """
        rows = range(len(self._probe.times))
        if band is not None:
            require_one_of("band", band, self._rows)
            rows = self._rows[band]
        total = 0.0
        with evaluating(model) as device:
            for start in rows[::_AT_ONCE]:
                some = slice(start, min(start + _AT_ONCE, rows.stop))
                batch = to_device(map_tensors(self._probe, itemgetter(some)), device)
                total += self.loss(model, batch).item() * len(batch.times)
        return total / len(rows)

    def views(self, inputs: tuple[Tensor, Tensor]) -> Any | None:
        """The images mirrored, with predictions mirrored back, or as the given view has them."""
        if self._view is not None:
            return self._view(inputs)
        images, times = inputs
        moved = mirrored_and_back(images)
        return moved._replace(inputs=(moved.inputs, times))
