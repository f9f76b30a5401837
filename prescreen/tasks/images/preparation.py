"""Preparation: how images become inputs: by the data's own statistics, given ones, or as a model's."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from prescreen.tasks.images import dataset as images
from prescreen.tasks.images.batches import Moments, measure
from prescreen.tasks.images.dataset import InMemory, OnDemand
from prescreen.tasks.images.decode import required
from prescreen.tasks.images.layouts import Layout
from prescreen.text import first_line

Statistics = float | Sequence[float]

# Means are given as for torchvision's ToTensor, which divides values of 8 bits by 255.
_WHITE = {torch.uint8: 255.0, torch.uint16: 65535.0}
_FORMS = "timm:NAME or torchvision:NAME"


@dataclass(frozen=True)
class Preparation:
    """How images become inputs.

    Args:
        mean: of each channel or of all, of values from 0 to 1; None for the images' own.
        std: deviation, likewise.
        preprocess: ``"timm:NAME"`` or ``"torchvision:NAME"``: images are resized, cropped and normalised
            as for that model, which is not downloaded.

    Raises:
        ValueError: values that are not finite, one of mean and deviation without the other, or with a
            model, or an unknown model.
    """

    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    preprocess: str | None = None

    @classmethod
    def of(
        cls, mean: Statistics | None, std: Statistics | None, preprocess: str | None
    ) -> Preparation:
        """From what a user gives: one number, or one per channel."""
        for name, other, value in (("std", "mean", std), ("mean", "std", mean)):
            if (mean is None) != (std is None) and value is None:
                raise ValueError(f"`{name}` must be given with `{other}`, got None")
        if preprocess is not None and mean is not None:
            raise ValueError(f"`mean` must be None with `preprocess`, got {mean}")
        means = None if mean is None else _numbers("mean", mean, -math.inf)
        stds = None if std is None else _numbers("std", std, 0.0)
        return cls(means, stds, preprocess)

    def dataset(self, dataset: Dataset[Any]) -> Dataset[Any]:
        """The same data set with images as the model takes them."""
        if self.preprocess is None:
            return dataset
        return Prepared(dataset, _transform(self.preprocess))

    def load(
        self, dataset: Dataset[Any], rows: Tensor, num_classes: int | None, image_size: int | None
    ) -> tuple[InMemory | OnDemand, int, tuple[Any, ...] | None]:
        """Like ``images.load``; what is prepared for a model is larger, and read when it is needed."""
        classes = tuple(getattr(dataset, "classes", None) or ())
        known = num_classes or len(classes)
        if self.preprocess is None or not known:
            return images.load(dataset, rows, num_classes, image_size)
        layout = images.common_layout(dataset, rows[:1], None)
        names = classes if len(classes) == known else None
        return OnDemand(dataset, rows, layout, known), known, names

    def moments(self, samples: InMemory | OnDemand, generator: Generator) -> Moments:
        """What is subtracted from the values of each channel, and what they are divided by."""
        channels = samples.layout.channels
        if self.preprocess is not None:
            return Moments((0.0,) * channels, (1.0,) * channels)
        if self.mean is None or self.std is None:
            return measure(samples, generator)
        white = _WHITE.get(samples.layout.dtype, 1.0)
        scaled = []
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, channels):
                raise ValueError(
                    f"`{name}` must have one value or {channels}, one per channel, got {len(values)}"
                )
            scaled.append(tuple(value * white for value in values) * (channels // len(values)))
        return Moments(*scaled)

    def said(self, layout: Layout) -> str:
        """How inputs were prepared, in a sentence."""
        size = f"Inputs have {layout.height}×{layout.width} pixels"
        if self.preprocess is not None:
            return f"{size}, prepared as for {self.preprocess}."
        if self.mean is not None and self.std is not None:
            means, stds = (" ".join(f"{v:g}" for v in values) for values in (self.mean, self.std))
            return f"{size}, less the mean {means} and divided by {stds}."
        return (
            f"{size}, standardised by the images' own mean and deviation; give mean and std, or "
            "preprocess, if models were trained otherwise."
        )


@dataclass(frozen=True, eq=False)
class Prepared(Dataset[Any]):
    """A data set whose images are prepared for a model."""

    dataset: Any
    transform: Callable[[Any], Tensor]
    channels_first = True

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int) -> Any:
        item = self.dataset[i]
        image, *rest = item if isinstance(item, tuple | list) and item else (item,)
        pixels = images.as_image(image, self.dataset, i)
        if pixels.dtype != torch.uint8:
            raise ValueError(
                f"`preprocess` must be None but for images of 8 bits, got {pixels.dtype} in item {i}"
            )
        pillow = required("PIL.Image", "preparing images")
        picture = pillow.fromarray(pixels.expand(3, -1, -1).permute(1, 2, 0).numpy())
        return self.transform(picture), *rest

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("dataset", "transform"):
            raise AttributeError(name)
        return getattr(self.dataset, name)


def _transform(preprocess: str) -> Callable[[Any], Tensor]:
    """A model's transform of a Pillow image to its input (C, H, W), as it is without training."""
    library, _, name = str(preprocess).partition(":")
    try:
        if library == "timm" and name:
            return _of_timm(name)
        if library == "torchvision" and name:
            return _of_torchvision(name)
    except (KeyError, RuntimeError, ValueError) as error:
        raise ValueError(
            f"`preprocess` must be {_FORMS} of a known model, got {preprocess!r}: {first_line(error)}"
        ) from error
    raise ValueError(f"`preprocess` must be {_FORMS}, got {preprocess!r}")


def _of_timm(name: str) -> Callable[[Any], Tensor]:
    data, models = (required(module, "`preprocess`") for module in ("timm.data", "timm.models"))
    config = models.get_pretrained_cfg(name, allow_unregistered=False)
    settings = data.resolve_data_config(pretrained_cfg=config.to_dict())
    transform: Callable[[Any], Tensor] = data.create_transform(**settings, is_training=False)
    return transform


def _of_torchvision(name: str) -> Callable[[Any], Tensor]:
    models = required("torchvision.models", "`preprocess`")
    if "." in name or "_Weights" in name:  # such as ResNet50_Weights.IMAGENET1K_V1
        weights = models.get_weight(name)
    else:
        weights = models.get_model_weights(name).DEFAULT
    transform: Callable[[Any], Tensor] = weights.transforms()
    return transform


def _numbers(argument: str, value: Statistics, above: float) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, Sequence | Tensor) else (value,)
    allowed = "a finite number or one per channel" + (", each above 0" if above == 0 else "")
    try:
        numbers = tuple(float(one) for one in values)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{argument}` must be {allowed}, got {value!r}") from error
    if not numbers or not all(math.isfinite(one) and one > above for one in numbers):
        raise ValueError(f"`{argument}` must be {allowed}, got {value!r}")
    return numbers
