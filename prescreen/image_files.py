"""Images in files: folders, parquet files and .npz archives, as map-style data sets."""

from __future__ import annotations

import importlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

# Encoded images of one split of parquet files stay in memory; more bytes than this (4 GiB) do not.
ENCODED_LIMIT = 4 << 30

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "labels", "fine_label")

# Validation images come first, so that test images stay unseen for a check at the end.
_PROBE_SPLITS = ("val", "valid", "validation", "test")
_NPZ_TRAIN = (("train_images", "train_labels"), ("x_train", "y_train"), ("images", "labels"),
              ("x", "y"), ("x", "labels"), ("images", "y"))
_NPZ_PROBE = ("val_images", "x_val", "test_images", "x_test")


@dataclass(frozen=True, eq=False)
class ImageFiles(Dataset[Any]):
    """Images read from their files: (image, class index) items, or (image, None) unlabelled."""

    paths: Sequence[str]
    labels: Sequence[int] | None = None
    classes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[Tensor, int | None]:
        path = Path(self.paths[i])
        try:
            encoded = path.read_bytes()
        except OSError as error:
            raise ValueError(f"data: {path} cannot be read: {error.strerror}") from error
        return decode(encoded, str(path)), None if self.labels is None else self.labels[i]


@dataclass(frozen=True, eq=False)
class EncodedImages(Dataset[Any]):
    """Encoded images one behind another in `encoded`: items as those of ImageFiles."""

    encoded: Tensor
    ends: Tensor
    source: str
    labels: Tensor | None = None
    classes: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, i: int) -> tuple[Tensor, int | None]:
        start = int(self.ends[i - 1]) if i else 0
        encoded = self.encoded[start : int(self.ends[i])].numpy().tobytes()
        image = decode(encoded, f"row {i} of {self.source}")
        return image, None if self.labels is None else int(self.labels[i])


def decode(encoded: bytes, origin: str) -> Tensor:
    """One image file's bytes to uint8 (1, H, W) or (3, H, W); `origin` is what an error names."""
    images = required("PIL.Image", "reading images")
    if encoded[:2] == b"\xff\xd8":
        image = _decode_jpeg(encoded)
        if image is not None:
            return image
    try:
        with images.open(io.BytesIO(encoded)) as image:
            return from_pil(image)
    # What Pillow raises on damaged files is not of one kind.
    except (OSError, SyntaxError, ValueError, EOFError, images.DecompressionBombError) as error:
        raise ValueError(f"data: {origin} is damaged or no image") from error
