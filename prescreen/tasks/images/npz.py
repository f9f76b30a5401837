"""Images in .npz archives, as data sets of tensors."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from prescreen.tasks.images.folders import Splits, class_indices

_IMAGES = ("train_images", "x_train", "images", "x")
_LABELS = ("train_labels", "y_train", "labels", "y")
# Validation images come first: test images stay unseen for a check at the end.
_PROBE = ("val_images", "x_val", "test_images", "x_test")


def open_npz(path: Path) -> Splits:
    """Open an .npz archive of images (n, H, W), (n, H, W, C) or (n, C, H, W) and labels (n,).

    The keys are x and y, images and labels, x_train and y_train, or train_images and train_labels.
    The probe batch is drawn from the val or test images, if there are any.
    """
    # NumPy does not close a file that it opened itself and cannot read.
    with path.open("rb") as file:
        with _one_line_errors(path):
            archive = np.load(file, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError(f"`data` must be an .npz archive, got a single array in {path}")
        return _splits(archive, path)


def _splits(archive: Any, path: Path) -> Splits:
    images = _images(archive, _key(archive, _IMAGES, path), path)
    key = _key(archive, _LABELS, path)
    with _one_line_errors(path):
        values = archive[key]
    if values.size != len(images) or values.shape[:1] != (len(images),):
        raise ValueError(
            f"`data` must have {key} of shape ({len(images)},), got {values.shape} in {path}"
        )
    labels, num_classes = class_indices(values.reshape(-1), f" in {key} of {path}")
    held = next((key for key in _PROBE if key in archive), None)
    probe = TensorDataset(_images(archive, held, path)) if held else None
    return Splits(TensorDataset(images, labels), probe, num_classes)


def _key(archive: Any, allowed: Sequence[str], path: Path) -> str:
    for key in allowed:
        if key in archive:
            return key
    got = ", ".join(archive.files) or "no keys"
    raise ValueError(f"`data` must have one of the keys {', '.join(allowed)}, got {got} in {path}")


def _images(archive: Any, key: str, path: Path) -> Tensor:
    with _one_line_errors(path):
        values = archive[key]
    if values.ndim == 4 and values.shape[3] in (1, 3):
        values = values.transpose(0, 3, 1, 2)
    if values.ndim == 3:
        values = values[:, None]
    if (
        values.dtype.kind not in "buif"
        or values.size == 0
        or values.ndim != 4
        or values.shape[1] not in (1, 3)
    ):
        raise ValueError(
            f"`data` must have numbers of shape (n, H, W), (n, H, W, C) or (n, C, H, W) with 1 or 3 "
            f"channels in {key}, got {values.dtype} {values.shape} in {path}"
        )
    as_bytes = values.dtype.kind in "bui" and values.min() >= 0 and values.max() <= 255
    return torch.from_numpy(np.ascontiguousarray(values, np.uint8 if as_bytes else np.float32))


@contextmanager
def _one_line_errors(path: Path) -> Iterator[None]:
    """Turn NumPy's errors for damaged archives and for arrays of objects into one line."""
    try:
        yield
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"`data` must be an undamaged .npz archive of plain arrays, got {path}"
        ) from error
