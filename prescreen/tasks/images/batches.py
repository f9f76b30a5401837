"""Training batches without end, from the images of a data set or from the user's own loader."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from prescreen.random_state import forked
from prescreen.tasks.images.dataset import InMemory, OnDemand
from prescreen.tasks.resident import sent
from prescreen.tasks.rows import shuffled_rows

# How many images give the mean and the standard deviation, if they are read on demand.
_MEASURED_ON_DEMAND = 1024


class Moments(NamedTuple):
    """Mean and standard deviation of every channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalize(self, images: Tensor) -> Tensor:
        """Images (B, C, H, W) of any dtype to float32, less the mean, over the deviation."""
        mean, std = (torch.tensor(values, device=images.device).view(-1, 1, 1) for values in self)
        return images.to(torch.float32, copy=True).sub_(mean).div_(std)


@dataclass(frozen=True, eq=False)
class DatasetBatches:
    """batches(batch_size, seed): reshuffled, augmented and normalised images, epoch after epoch.

    An incomplete last batch of an epoch is dropped. If a data set is smaller than a batch, every batch
    is all of it.
    """

    samples: InMemory | OnDemand
    moments: Moments
    crop: bool
    flip: bool

    def __call__(self, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(inputs (B, C, H, W) float32, class indices (B,)) without end; one seed gives the same."""
        generator = Generator().manual_seed(seed)
        return self._read(shuffled_rows(len(self.samples), batch_size, generator), generator)

    @property
    def unaugmented(self) -> DatasetBatches:
        """The same batches without augmentation."""
        return replace(self, crop=False, flip=False)

    def on(self, device: torch.device) -> DatasetBatches:
        """The same batches, made on a device if the images can be kept there, as ``InMemory.on`` says.

        What is random is drawn on the CPU, so that a seed gives the same batches everywhere.
        """
        samples = self.samples.on(device) if isinstance(self.samples, InMemory) else self.samples
        return self if samples is self.samples else replace(self, samples=samples)

    def digest(self) -> str:
        """A string that is equal if the training data and the way of reading them are the same."""
        return f"{self.samples.digest()} {len(self.samples)} {self.crop} {self.flip}"

    def _read(
        self, rows: Iterator[Tensor], generator: Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        for some in rows:
            images, labels = self.samples.read(some)
            if self.crop:
                images = pad_crop(images, generator)
            if self.flip:
                images = flip_half(images, generator)
            yield self.moments.normalize(images), labels


@dataclass(frozen=True, eq=False)
class LoaderBatches:
    """batches(batch_size, seed) of a DataLoader, cycled; it keeps its own batch size."""

    loader: DataLoader[Any]

    def __call__(self, batch_size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """(inputs, targets) without end; `batch_size` is not used."""
        own = getattr(self.loader, "generator", None)
        if own is not None:
            own.manual_seed(seed)
        return self._epochs(Generator().manual_seed(seed))

    def digest(self) -> str:
        """The number of samples: all that is known of a loader's data without reading them."""
        dataset: object = getattr(self.loader, "dataset", None)
        return f"loader {len(dataset) if isinstance(dataset, Sized) else 'of unknown length'}"

    def _epochs(self, generator: Generator) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            with _global_randomness_from(generator):
                epoch = iter(self.loader)
            empty = True
            while True:
                with _global_randomness_from(generator):
                    batch = next(epoch, None)
                if batch is None:
                    break
                empty = False
                yield _pair(batch)
            if empty:
                raise ValueError("`loader` must give at least one batch on every pass, got none")


def measure(samples: InMemory | OnDemand, generator: Generator) -> Moments:
    """Mean and deviation per channel of all images, or of 1,024 if they are read on demand."""
    rows = torch.arange(len(samples))
    if isinstance(samples, OnDemand):
        rows = torch.randperm(len(samples), generator=generator)[:_MEASURED_ON_DEMAND]
    count, total, squares = 0, torch.zeros(()), torch.zeros(())
    for some in torch.split(rows, 256):
        images = samples.read(some)[0].double()
        count += images.numel() // images.shape[1]
        total = total + images.sum((0, 2, 3))
        squares = squares + images.square().sum((0, 2, 3))
    mean = total / count
    if not bool(torch.isfinite(mean).all()):
        raise ValueError("the images must be finite, got NaN or infinite values")
    std = (squares / count - mean.square()).clamp_min(0).sqrt()
    # A channel that does not vary must not be divided by rounding errors.
    std = torch.where(std > 1e-6 * mean.abs(), std, 1.0)
    return Moments(tuple(mean.tolist()), tuple(std.tolist()))


def pad_crop(images: Tensor, generator: Generator) -> Tensor:
    """Pad images (B, C, H, W) with zeros by an eighth of their size and crop each at random."""
    count, channels, height, width = images.shape
    down, right = height // 8, width // 8
    top = torch.randint(2 * down + 1, (count,), generator=generator)
    left = torch.randint(2 * right + 1, (count,), generator=generator)
    padded = functional.pad(images, (right, right, down, down)).contiguous()
    # A window of this form begins at every value; selecting those of the crops copies row by row.
    rows = width + 2 * right
    area = rows * (height + 2 * down)
    steps = (1, area, rows, 1)
    last = (channels - 1) * area + (height - 1) * rows + width
    windows = padded.as_strided((padded.numel() - last + 1, channels, height, width), steps)
    starts = torch.arange(count) * (channels * area) + top * rows + left
    return windows.index_select(0, sent(starts, images.device))


def flip_half(images: Tensor, generator: Generator) -> Tensor:
    """Flip each of the images (B, C, H, W) from left to right with probability one half."""
    (flipped,) = (torch.rand(len(images), generator=generator) < 0.5).nonzero(as_tuple=True)
    flipped = sent(flipped, images.device)
    return images.index_copy(0, flipped, images.index_select(0, flipped).flip(3))


def _pair(batch: object) -> tuple[Tensor, Tensor]:
    if isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    raise ValueError(f"`loader` must give batches (inputs, targets), got {type(batch).__name__}")


@contextmanager
def _global_randomness_from(generator: Generator) -> Iterator[None]:
    """Let torch's global draws inside come from the generator; the global state is restored after.

    A DataLoader without its own generator draws its order from the global one.
    """
    with forked():
        torch.set_rng_state(generator.get_state())
        try:
            yield
        finally:
            generator.set_state(torch.get_rng_state())
