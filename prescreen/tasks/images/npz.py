"""Images in .npz archives, as data sets of tensors."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from prescreen.tasks.images.labels import number_classes
from prescreen.tasks.images.layouts import is_channels_last
from prescreen.tasks.images.splits import Splits
from prescreen.tasks.images.walk import reason, short, shown

_IMAGES = ("train_images", "x_train", "images", "x")
_LABELS = ("train_labels", "y_train", "labels", "y")
# Validation images come first: test images stay unseen for a check at the end.
_PROBE = ("val_images", "x_val", "test_images", "x_test")


class Arrays(TensorDataset):
    """Images (n, C, H, W), and their labels (n,) and the classes' names if there are any."""

    channels_first: ClassVar = True

    def __init__(self, *tensors: Tensor, classes: Sequence[Any] | None = None) -> None:
        super().__init__(*tensors)
        self.classes = classes


def open_npz(path: Path, num_classes: int | None = None, *, labelled: bool = True) -> Splits:
    """Open an .npz archive of images (n, H, W), (n, H, W, C) or (n, C, H, W) and labels (n,).

    The keys are x and y, images and labels, x_train and y_train, or train_images and train_labels.
    The probe batch is drawn from the val or test images, if there are any. Integer labels are class
    indices from 0 to `num_classes` - 1 if that is given. If not `labelled`, no labels are read.

    Raises:
        ValueError: the archive is damaged, or its arrays are not as above.
    """
    # NumPy does not close a file that it opened itself and cannot read.
    with path.open("rb") as file:
        magic = file.read(6)
        if magic == np.lib.format.MAGIC_PREFIX:
            raise ValueError(f"`data` must be an .npz archive, got a single array in {shown(path)}")
        file.seek(0)
        if not magic.startswith(b"PK"):
            raise _damaged(shown(path), "no zip archive" if magic else "an empty file")
        try:
            archive = np.load(file, allow_pickle=False)
        # NumPy and zipfile raise errors of any kind for damaged files.
        except Exception as error:
            raise _damaged(shown(path), reason(error)) from error
        return _splits(archive, path, num_classes, labelled)


def _splits(archive: Any, path: Path, num_classes: int | None, labelled: bool) -> Splits:
    keys = [_key(archive, _IMAGES, path)]
    keys += [key for key in _PROBE if key in archive][:1]
    arrays = [_images(archive, key, path) for key in keys]
    types = [values.dtype for values in arrays]
    if len({dtype.kind == "f" for dtype in types}) > 1:
        raise ValueError(
            f"`data` must have {' and '.join(keys)} of one scale, got {types[0]} and {types[1]} in "
            f"{shown(path)}"
        )
    if not labelled:
        only, *others = map(Arrays, _as_tensors(arrays))
        return Splits(only, others[0] if others else None, None)
    key = _key(archive, _LABELS, path)
    values = _array(archive, key, path)
    count = len(arrays[0])
    if values.size != count or values.shape[:1] != (count,):
        raise ValueError(
            f"`data` must have {key} of shape ({count},), got {values.shape} in {shown(path)}"
        )
    labels = number_classes(values.reshape(-1), num_classes, f" in {key} of {shown(path)}")
    images, *held = _as_tensors(arrays)
    train = Arrays(images, labels.indices, classes=labels.classes)
    return Splits(train, Arrays(held[0]) if held else None, labels.num_classes)


def _key(archive: Any, allowed: Sequence[str], path: Path) -> str:
    for key in allowed:
        if key in archive:
            return key
    got = short(", ".join(archive.files)) or "no keys"
    raise ValueError(
        f"`data` must have one of the keys {', '.join(allowed)}, got {got} in {shown(path)}"
    )


def _images(archive: Any, key: str, path: Path) -> np.ndarray[Any, Any]:
    """The images under a key, (n, C, H, W) of any type."""
    values = stored = _array(archive, key, path)
    if values.ndim == 4 and is_channels_last(
        values.shape[1:], f"{key} of {shown(path)}", allowed=(1, 3)
    ):
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
            f"channels in {key}, got {stored.dtype} {stored.shape} in {shown(path)}"
        )
    return values


def _as_tensors(arrays: Sequence[np.ndarray[Any, Any]]) -> list[Tensor]:
    """Arrays as uint8 if all values of all of them are such integers, else as float32."""
    as_bytes = all(
        values.dtype.kind in "bui" and values.min() >= 0 and values.max() <= 255
        for values in arrays
    )
    dtype = np.uint8 if as_bytes else np.float32
    with np.errstate(all="ignore"):  # values beyond float32 are refused as infinite
        return [torch.from_numpy(np.ascontiguousarray(values, dtype)) for values in arrays]


def _array(archive: Any, key: str, path: Path) -> np.ndarray[Any, Any]:
    """An array of the archive, read once its header is known to tell the truth."""
    where = f"{key} of {shown(path)}"
    member = key if key in archive.zip.namelist() else f"{key}.npy"
    try:
        fault = _fault(archive.zip, member)
        values = None if fault else np.asarray(archive[key])
    except Exception as error:
        raise _damaged(where, reason(error)) from error
    if values is None:
        raise _damaged(where, fault)
    return values


def _fault(opened: zipfile.ZipFile, member: str) -> str:
    """What is wrong with the header of an array, if anything: NumPy allocates what it says."""
    with opened.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version > (2, 0):
            return f"its format {version[0]}.{version[1]} is that of named columns"
        is_first = version == (1, 0)
        read = (
            np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
        size = opened.getinfo(member).file_size - file.tell()
    if dtype.hasobject:
        return "it holds Python objects"
    # Python's integers: NumPy's product of a shape may wrap around.
    if math.prod(map(int, shape)) * dtype.itemsize != size or min(shape, default=0) < 0:
        return f"its header says {dtype} {shape}, but it has {size} bytes"
    if size > _largest():
        return f"its {size:,} bytes are more than half of this machine's memory"
    return ""


def _largest() -> int:
    """The most bytes that an array may have: half of the memory, as images are copied once."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    except (AttributeError, OSError, ValueError):  # Windows, and systems that do not say
        return 8 << 30


def _damaged(where: str, fault: str) -> ValueError:
    return ValueError(
        f"`data` must be an undamaged .npz archive of plain arrays, got {where}: {fault}"
    )
