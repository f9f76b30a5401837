"""Noising: images mixed with noise of many strengths, and what a model is to predict of the mixture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple, get_args

import torch
from torch import Generator, Tensor

from prescreen.checks import require, require_at_least, require_one_of
from prescreen.tasks.images.batches import Moments, flip_half
from prescreen.tasks.masks.batches import as_pixels
from prescreen.tasks.rows import draw_rows, shuffled_rows

Prediction = Literal["epsilon", "v", "x0"]
Beta = Literal["linear", "cosine"]

# The largest share of noise that one step adds (Nichol & Dhariwal 2021).
_MOST = 0.999

# Bands of times by the share of noise in the variance of x_t, so that they mean the same in every
# schedule; of 1,000 linear times the small ones are those up to 97. There a model must know the detail
# of images, and in a pilot readouts of such times ranked networks as longer training did. Where hardly
# any signal is left, the best prediction is nearly the same for all images, and the order was reversed.
BANDS: Mapping[str, tuple[float, float]] = {
    "small_t": (0.0, 0.1),
    "middle_t": (0.1, 0.9),
    "large_t": (0.9, 1.0),
}


class Noised(NamedTuple):
    """Images x_t (B, C, H, W), their times (B,), and the target (B, C, H, W) of the prediction."""

    images: Tensor
    times: Tensor
    target: Tensor


@dataclass(frozen=True)
class Noising:
    """x_t = √ᾱ_t x₀ + √(1 − ᾱ_t) ε with ᾱ_t the product of 1 − β_s for s up to t, t from 0 to T − 1.

    Args:
        prediction: the target, ``"epsilon"`` for ε, ``"x0"`` for x₀, or ``"v"`` for
            √ᾱ_t ε − √(1 − ᾱ_t) x₀.
        schedule: ``"linear"``: β from 10⁻⁴ to 0.02 for T = 1000, and times 1000 / T for other T;
            or ``"cosine"``: ᾱ_t falls as cos² does.
        steps: T.

    Raises:
        ValueError: an argument is not one of these.

    References: Ho et al. 2020, arXiv 2006.11239; cosine, and other T: Nichol & Dhariwal 2021, arXiv
    2102.09672; v: Salimans & Ho 2022, arXiv 2202.00512.
    """

    prediction: Prediction = "epsilon"
    schedule: Beta = "linear"
    steps: int = 1000

    def __post_init__(self) -> None:
        require_one_of("prediction", self.prediction, get_args(Prediction))
        require_one_of("schedule", self.schedule, get_args(Beta))
        require_at_least("steps", self.steps, 10)

    @cached_property
    def kept(self) -> Tensor:
        """ᾱ_t of every time, (T,) in float64: the share of the image in the variance of x_t."""
        steps = self.steps
        if self.schedule == "linear":
            ends = (1e-4 * 1000 / steps, 0.02 * 1000 / steps)
            betas = torch.linspace(*ends, steps, dtype=torch.float64)
        else:
            times = torch.arange(steps + 1, dtype=torch.float64) / steps
            falling = torch.cos((times + 0.008) / 1.008 * torch.pi / 2).square()
            betas = 1 - falling[1:] / falling[:-1]
        return (1 - betas.clamp(max=_MOST)).cumprod(0)

    def __call__(self, images: Tensor, times: Tensor, noise: Tensor) -> Noised:
        """Mix images (B, C, H, W) with noise of their shape, each as much as its time says."""
        kept = self.kept[times].view(-1, 1, 1, 1)
        signal, amount = kept.sqrt().to(images), (1 - kept).sqrt().to(images)
        targets = {
            "epsilon": lambda: noise,
            "v": lambda: signal * noise - amount * images,
            "x0": lambda: images,
        }
        return Noised(signal * images + amount * noise, times, targets[self.prediction]())


@dataclass(frozen=True, eq=False)
class NoisedBatches:
    """batches(batch_size, seed): reshuffled and perhaps mirrored images with noise of random times."""

    images: Tensor
    moments: Moments
    noising: Noising
    mirror: bool

    def __call__(self, batch_size: int, seed: int) -> Iterator[Noised]:
        """Batches without end; one seed always gives the same images, times and noise."""
        generator = Generator().manual_seed(seed)
        return self._read(shuffled_rows(len(self.images), batch_size, generator), generator)

    @property
    def unaugmented(self) -> NoisedBatches:
        """The same batches without mirrored images."""
        return replace(self, mirror=False)

    def _read(self, rows: Iterator[Tensor], generator: Generator) -> Iterator[Noised]:
        for some in rows:
            images = self.moments.normalize(self.images[some])
            if self.mirror:
                images = flip_half(images, generator)
            times = torch.randint(self.noising.steps, (len(images),), generator=generator)
            yield self.noising(images, times, torch.randn(images.shape, generator=generator))


def rows_of_bands(noise: Tensor) -> dict[str, range]:
    """The samples of each band, of shares of noise (N,) that rise.

    Raises:
        ValueError: a band has none.
    """
    rows = {}
    for band, ends in BANDS.items():
        first, last = torch.searchsorted(noise, noise.new_tensor(ends), right=True).tolist()
        rows[band] = range(first, last)
        got = f"{len(noise)}, with none in {band}"
        if not len(rows[band]):
            raise ValueError(f"`probe_size` must be large enough for all bands of times, got {got}")
    return rows


def images_of_probe(
    images: Tensor, probe: object, size: int, generator: Generator
) -> tuple[Tensor, Tensor]:
    """Training images, and those of the probe: the given ones, or some that are drawn.

    Raises:
        ValueError: the given ones are too few or unlike the others, or there are too few to draw from.
    """
    if probe is None:
        chosen, rest = draw_rows(len(images), size, generator, leave=1)
        return images[rest], images[chosen]
    given = as_pixels("probe", probe)
    form = f"at least 2 images like those of training, {images.dtype} {tuple(images.shape[1:])}"
    alike = len(given) > 1 and (given.dtype, given.shape[1:]) == (images.dtype, images.shape[1:])
    require("probe", form, f"{given.dtype} {tuple(given.shape)}", alike)
    return images, given


def to_unit_range(images: Tensor) -> Moments:
    """What brings the smallest and the largest value of images to −1 and 1.

    Raises:
        ValueError: all values are equal.
    """
    low, high = (float(value) for value in images.aminmax())
    require("images", "of more than one value", low, low < high)
    channels = images.shape[1]
    return Moments(((high + low) / 2,) * channels, ((high - low) / 2,) * channels)
