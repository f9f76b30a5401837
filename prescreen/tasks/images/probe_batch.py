"""The probe batch: how its unlabelled inputs are chosen and checked."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset, TensorDataset

from prescreen.tasks.rows import draw_rows

logger = logging.getLogger(__name__)

# A larger `probe_shift` causes a warning; benchmarks/failures shows what it detects.
SHIFT_LIMIT = 0.1


def check_probe(probe: object) -> None:
    """Refuse anything but a finite float32 batch of at least two images."""
    allowed = "a finite float32 tensor (N, C, H, W) of at least 2 unlabelled inputs"
    if not isinstance(probe, Tensor):
        raise ValueError(f"`probe` must be {allowed}, got {type(probe).__name__}")
    if probe.dtype != torch.float32 or probe.ndim != 4 or len(probe) < 2 or not probe.numel():
        raise ValueError(f"`probe` must be {allowed}, got {probe.dtype} {tuple(probe.shape)}")
    bad = int((~torch.isfinite(probe)).sum())
    if bad:
        got = f"{bad} NaN or infinite of {probe.numel()} values"
        raise ValueError(f"`probe` must be {allowed}, got {got}")


def choose_probe(
    dataset: Dataset[Any], probe: Tensor | Dataset[Any] | None, size: int, generator: Generator
) -> tuple[Dataset[Any], Tensor, Tensor]:
    """The source of the probe images, their row numbers in it, and the rows to train on."""
    length = _length(dataset, "dataset")
    if probe is None:
        chosen, rest = draw_rows(length, size, generator, leave=1)
        return dataset, chosen, _without_copies(dataset, rest, chosen)
    if isinstance(probe, Tensor):
        if len(probe) < 2:
            raise ValueError(f"`probe` must have at least 2 inputs, got {len(probe)}")
        return TensorDataset(probe), torch.arange(len(probe)), torch.arange(length)
    chosen, _ = draw_rows(_length(probe, "probe"), size, generator)
    if copies := _copies(dataset, range(length), probe, chosen):
        logger.warning("training images that are in the probe as well: %d of them", len(copies))
    return probe, chosen, torch.arange(length)


def _without_copies(dataset: Dataset[Any], rows: Tensor, chosen: Tensor) -> Tensor:
    """The rows whose images are not also among the chosen ones."""
    copies = _copies(dataset, rows.tolist(), dataset, chosen)
    if not copies:
        return rows
    logger.warning("left out of training: copies of probe images, %d of them", len(copies))
    rest = rows[~torch.isin(rows, torch.tensor(copies))]
    if not len(rest):
        raise ValueError("`data` must have images that differ from the probe's, got copies alone")
    return rest


def _copies(dataset: Any, rows: Sequence[int], source: Any, chosen: Tensor) -> list[int]:
    """The rows of images whose encoded bytes are those of a chosen image of the source."""
    if not hasattr(dataset, "encoded_size") or not hasattr(source, "encoded_size"):
        return []  # tensors, and the user's own data sets
    sizes = {source.encoded_size(row) for row in chosen.tolist()} - {0}
    alike = [row for row in rows if dataset.encoded_size(row) in sizes]
    if not alike:
        return []
    hashes = {_hash(source.encoded(row)) for row in chosen.tolist() if source.encoded_size(row)}
    return [row for row in alike if _hash(dataset.encoded(row)) in hashes]


def _hash(encoded: bytes) -> bytes:
    return hashlib.sha256(encoded).digest()


def probe_shift(probe: Tensor) -> float:
    """How far a normalised probe batch is from training images, beyond chance.

    Training images have mean 0 and mean square 1 in every channel. The value is the largest distance
    from this of a channel's mean, or of half the logarithm of its mean square, less four standard
    errors, since few images differ by chance. It is in units of the training images' deviation, and
    0 or less if they are alike.

    Args:
        probe: shape (N, C, H, W).
    """
    firsts, squares = (values.mean((2, 3)) for values in (probe, probe.square()))
    errors = [values.std(0) / len(probe) ** 0.5 for values in (firsts, squares)]
    square = squares.mean(0)
    square[square == 0] = 1.0  # a channel that is constant, as in training
    of_mean = firsts.mean(0).abs() - 4 * errors[0]
    of_deviation = square.log().abs() / 2 - 4 * errors[1] / (2 * square)
    return max(of_mean.max().item(), of_deviation.max().item())


def warn_of_shift(probe: Tensor) -> None:
    """Warn if a probe batch cannot be from the distribution of the training images."""
    shift = probe_shift(probe)
    if shift > SHIFT_LIMIT:
        warnings.warn(
            "`probe` must be images like those of training, got a channel whose mean or deviation "
            f"differs by at least {shift:.2f} training deviations; readouts may be misleading",
            stacklevel=3,
        )


def _length(dataset: object, argument: str) -> int:
    if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        raise ValueError(
            f"`{argument}` must be a map-style data set, with a length and items by number, "
            f"got {type(dataset).__name__}"
        )
    length = len(dataset)
    if length == 0:
        raise ValueError(f"`{argument}` must have at least one image, got an empty data set")
    return length
