"""Images in parquet files, in the Hugging Face image schema, as map-style data sets."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from prescreen.tasks.images.decode import decode, required
from prescreen.tasks.images.labels import as_array, number_classes
from prescreen.tasks.images.splits import Splits, parquet_splits
from prescreen.tasks.images.walk import reason, short, shown

# The encoded images of a split are held in memory, up to this many bytes (4 GiB).
ENCODED_LIMIT = 4 << 30

_IMAGE_COLUMNS = ("img", "image")
_LABEL_COLUMNS = ("label", "labels", "fine_label")
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, eq=False)
class EncodedImages(Dataset[Any]):
    """Encoded images in one tensor, image i up to byte ends[i]; items as in ImageFiles.

    `files` are their names, and `starts` the first row of each.
    """

    joined: Tensor
    ends: Tensor
    files: Sequence[str]
    starts: Sequence[int]
    labels: Tensor | None = None
    classes: Sequence[Any] | None = None
    channels_first: ClassVar = True

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, i: int) -> tuple[Tensor, int | None]:
        image = decode(self.encoded(i), self.origin(i))
        return image, None if self.labels is None else int(self.labels[i])

    def origin(self, i: int) -> str:
        """The row of an image, and its file."""
        return _origin(i, self.files, self.starts)

    def encoded_size(self, i: int) -> int:
        """The size in bytes of an image as it is stored."""
        return int(self.ends[i]) - (int(self.ends[i - 1]) if i else 0)

    def encoded(self, i: int) -> bytes:
        """An image as it is stored."""
        end = int(self.ends[i])
        return self.joined[end - self.encoded_size(i) : end].numpy().tobytes()


def open_parquet(path: Path, num_classes: int | None = None, *, labelled: bool = True) -> Splits:
    """Open a parquet file, or a folder of them, in the Hugging Face image schema.

    In a folder, files called train-… or in a folder train hold the training images, in any of the
    usual spellings. The probe batch is drawn from those of validation or of test, whose labels are
    not read. If no file is called by a split, all are training data. Integer labels are class
    indices, up to the names of the schema, or from 0 to `num_classes` - 1 if that is given. If not
    `labelled`, no labels are read.

    Raises:
        ValueError: a file is damaged, or has other columns than those of the schema.
    """
    train, held = parquet_splits(path) if path.is_dir() else ([path], [])
    images, num_classes = (
        _read_labelled(train, num_classes) if labelled else (_read_images(train), None)
    )
    return Splits(images, _read_images(held) if held else None, num_classes)


def _read_labelled(files: Sequence[Path], num_classes: int | None) -> tuple[EncodedImages, int]:
    """The images and labels of parquet files, and the number of classes."""
    images = _read_images(files)
    values: list[Any] = []
    for file in files:
        with _opened(file) as opened:
            column = _column(opened, _LABEL_COLUMNS, file)
            values += _values(opened, column, file)
            names = _class_names(opened, column)
    if len(values) != len(images):
        raise ValueError(
            f"`data` must have equally many labels and images, got {len(values)} and {len(images)} "
            f"in {images.files[0]}"
        )
    where = f" in {column} of {shown(files[-1])}"
    kind = str if isinstance(values[0], str) else int
    wrong = next((i for i, value in enumerate(values) if not isinstance(value, kind)), None)
    if wrong is not None:
        raise ValueError(
            f"the labels in {column} of {images.files[0]} must be class indices or names, "
            f"got {short(repr(values[wrong]))} in {images.origin(wrong)}"
        )
    known = names if kind is int else ()
    labels = number_classes(as_array(values), len(known) or num_classes, where)
    classes = known or labels.classes
    return replace(images, labels=labels.indices, classes=classes), labels.num_classes


def _read_images(files: Sequence[Path]) -> EncodedImages:
    """The image column of parquet files and no other."""
    joined = bytearray()
    ends: list[int] = []
    starts: list[int] = []
    names = [shown(file) for file in files]
    for file in files:
        starts.append(len(ends))
        with _opened(file) as opened:
            column = _column(opened, _IMAGE_COLUMNS, file)
            for value in _values(opened, column, file):
                encoded = value.get("bytes") if isinstance(value, dict) else value
                if not isinstance(encoded, bytes) or not encoded:
                    raise ValueError(
                        f"`data` must have image bytes in {column}, got {_kind(value)} in "
                        f"{_origin(len(ends), names, starts)}"
                    )
                joined += encoded
                ends.append(len(joined))
                if len(joined) > ENCODED_LIMIT:
                    raise ValueError(
                        f"`data` must have at most {ENCODED_LIMIT >> 20} MiB of encoded images, got "
                        f"more in {names[0]}; give fewer files, or a folder of image files"
                    )
    if not ends:
        raise ValueError(f"`data` must have at least one row, got none in {names[0]}")
    return EncodedImages(
        torch.frombuffer(joined, dtype=torch.uint8), torch.tensor(ends), names, starts
    )


def _origin(row: int, files: Sequence[str], starts: Sequence[int]) -> str:
    file = bisect_right(starts, row) - 1
    return f"row {row - starts[file]} of {files[file]}"


def _kind(value: object) -> str:
    """What there is in place of an image."""
    if isinstance(value, dict) and isinstance(value.get("path"), str):
        return f"only the path {short(value['path'])}"
    is_none = value is None or isinstance(value, dict | bytes)
    return "none" if is_none else type(value).__name__


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """An open parquet file."""
    parquet = required("pyarrow.parquet", "reading parquet files")
    try:
        opened = parquet.ParquetFile(file, page_checksum_verification=True)
    # For damaged files Arrow raises errors of any kind.
    except Exception as error:
        raise _damaged(file, error) from error
    with opened:
        yield opened


def _values(opened: Any, column: str, file: Path) -> Iterator[Any]:
    """The values of a column, row after row."""
    batches = opened.iter_batches(batch_size=_ROWS_AT_ONCE, columns=[column])
    while True:
        try:
            batch = next(batches, None)
            values = () if batch is None else batch.column(column).to_pylist()
        except Exception as error:
            raise _damaged(file, error, f"{column} of ") from error
        if batch is None:
            return
        yield from values


def _damaged(file: Path, error: Exception, column: str = "") -> ValueError:
    return ValueError(
        f"`data` must be an undamaged parquet file, got {column}{shown(file)}: {reason(error)}"
    )


def _column(opened: Any, allowed: Sequence[str], file: Path) -> str:
    names = opened.schema_arrow.names
    for name in allowed:
        if name in names:
            return name
    raise ValueError(
        f"`data` must have a column named {' or '.join(allowed)}, "
        f"got {short(', '.join(names)) or 'no columns'} in {shown(file)}"
    )


def _class_names(opened: Any, column: str) -> Sequence[str]:
    """The class names in the metadata of the Hugging Face schema, if there are any."""
    stored = (opened.schema_arrow.metadata or {}).get(b"huggingface", b"{}")
    try:
        names = json.loads(stored)["info"]["features"][column]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()
