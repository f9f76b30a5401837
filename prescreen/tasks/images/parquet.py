"""Images in parquet files, in the Hugging Face image schema, as map-style data sets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from prescreen.tasks.images.dataset import check_labels
from prescreen.tasks.images.folders import PROBE_SPLITS, Splits, class_indices, decode, required

# The encoded images of a split are held in memory, up to this many bytes (4 GiB).
ENCODED_LIMIT = 4 << 30

_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "labels", "fine_label")


@dataclass(frozen=True, eq=False)
class EncodedImages(Dataset[Any]):
    """Encoded images in one tensor, image i up to byte ends[i]; items as in ImageFiles."""

    encoded: Tensor
    ends: Tensor
    source: str
    labels: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, i: int) -> tuple[Tensor, int | None]:
        start = int(self.ends[i - 1]) if i else 0
        encoded = self.encoded[start : int(self.ends[i])].numpy().tobytes()
        image = decode(encoded, f"row {i} of {self.source}")
        return image, None if self.labels is None else int(self.labels[i])


def open_parquet(path: Path) -> Splits:
    """Open a parquet file, or a folder of them, in the Hugging Face image schema.

    In a folder, train-*.parquet holds the training images. The probe batch is drawn from
    validation-*.parquet or test-*.parquet, whose labels are not read. Without a train-*.parquet all
    files are training data.
    """
    files = list_parquet(path) if path.is_dir() else [path]
    train = [file for file in files if file.name.startswith("train")] or files
    rest = [file for file in files if file not in train]
    splits = ([file for file in rest if file.name.startswith(name)] for name in PROBE_SPLITS)
    held = next(filter(None, splits), None)
    images, num_classes = _read_labelled(train)
    return Splits(images, _read_images(held) if held else None, num_classes)


def list_parquet(folder: Path) -> list[Path]:
    """The parquet files in a folder or its sub-folder `data`."""
    return sorted(folder.glob("*.parquet")) or sorted(folder.glob("data/*.parquet"))


def _read_labelled(files: Sequence[Path]) -> tuple[EncodedImages, int]:
    """The images and labels of parquet files, and the number of classes."""
    values: list[object] = []
    for file in files:
        with _parquet(file) as opened:
            column = _column(opened, _LABEL_COLUMNS, file)
            values += opened.read(columns=[column])[column].to_pylist()
            names = _class_names(opened, column)
    images = _read_images(files)
    where = f" in {column} of {images.source}"
    wrong = next((i for i, value in enumerate(values) if not isinstance(value, int | str)), None)
    if wrong is not None:
        raise ValueError(
            f"the labels{where} must be class indices or names, got {values[wrong]!r} in row {wrong}"
        )
    labels, found = class_indices(np.array(values), where)
    if names:
        check_labels(labels, len(names), where)
    return replace(images, labels=labels), len(names) or found


def _read_images(files: Sequence[Path]) -> EncodedImages:
    """The image column of parquet files and no other."""
    source = str(files[0]) if len(files) == 1 else f"{files[0]} and the {len(files) - 1} after it"
    joined = bytearray()
    lengths: list[int] = []
    for file in files:
        with _parquet(file) as opened:
            column = _column(opened, _IMAGE_COLUMNS, file)
            for batch in opened.iter_batches(columns=[column]):
                for value in batch.column(column).to_pylist():
                    encoded = value.get("bytes") if isinstance(value, dict) else value
                    if not isinstance(encoded, bytes) or not encoded:
                        row = len(lengths)
                        raise ValueError(
                            f"`data` must have image bytes, got none in row {row} of {source}"
                        )
                    joined += encoded
                    lengths.append(len(encoded))
                if len(joined) > ENCODED_LIMIT:
                    raise ValueError(
                        f"`data` must have at most {ENCODED_LIMIT >> 20} MiB of encoded images, got "
                        f"more in {source}; give fewer files, or a folder of image files"
                    )
    if not lengths:
        raise ValueError(f"`data` must have at least one row, got none in {source}")
    encoded_images = torch.frombuffer(joined, dtype=torch.uint8)
    return EncodedImages(encoded_images, torch.tensor(lengths).cumsum(0), source)


@contextmanager
def _parquet(file: Path) -> Iterator[Any]:
    """An open parquet file; its errors come as one line."""
    arrow = required("pyarrow", "reading parquet files")
    parquet = required("pyarrow.parquet", "reading parquet files")
    try:
        with parquet.ParquetFile(file) as opened:
            yield opened
    except (OSError, arrow.ArrowException) as error:
        raise ValueError(f"`data` must be an undamaged parquet file, got {file}") from error


def _column(opened: Any, allowed: Sequence[str], file: Path) -> str:
    names = opened.schema_arrow.names
    for name in allowed:
        if name in names:
            return name
    raise ValueError(
        f"`data` must have a column named {' or '.join(allowed)}, got {', '.join(names)} in {file}"
    )


def _class_names(opened: Any, column: str) -> Sequence[str]:
    """The class names in the metadata of the Hugging Face schema, if there are any."""
    stored = (opened.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    try:
        names = json.loads(stored)["info"]["features"][column]["names"]
    except (ValueError, KeyError, TypeError):
        return ()
    return names if isinstance(names, list) else ()
