"""Folders of image files, as map-style data sets."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from torch import Tensor
from torch.utils.data import Dataset

from prescreen.tasks.images.decode import decode
from prescreen.tasks.images.splits import Splits, find_splits, refuse_inner_splits
from prescreen.tasks.images.walk import SUFFIXES, files_of, list_images, shown, sub_folders

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class ImageFiles(Dataset[Any]):
    """One image per file: items are (image, class index), or (image, None) without labels."""

    paths: Sequence[str]
    labels: Sequence[int] | None = None
    classes: Sequence[str] = ()
    channels_first: ClassVar = True

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[Tensor, int | None]:
        with self._opened(i) as file:
            image = decode(file, self.origin(i))
        return image, None if self.labels is None else self.labels[i]

    def origin(self, i: int) -> str:
        """An image's path."""
        return shown(self.paths[i])

    def encoded_size(self, i: int) -> int:
        """The size in bytes of an image's file, 0 if there is none."""
        try:
            return os.path.getsize(self.paths[i])
        except OSError:
            return 0

    def encoded(self, i: int) -> bytes:
        """An image's file."""
        with self._opened(i) as file:
            return file.read()

    @contextmanager
    def _opened(self, i: int) -> Iterator[BinaryIO]:
        try:
            with Path(self.paths[i]).open("rb") as file:
                yield file
        except OSError as error:
            raise ValueError(
                f"`data` must have readable files, got {self.origin(i)}: {error.strerror}"
            ) from error


def open_folder(path: Path) -> Splits:
    """Open a folder with a sub-folder of images for each class, or with splits of such folders.

    Images of the folder `train`, in any of the usual spellings, are trained on; the probe batch is
    drawn from those in `val`, else in `test`. What is left out is logged in one line.

    Raises:
        ValueError: there are fewer than two classes, one without images, or folders that may be
            splits as well as classes.
    """
    root, held = find_splits(path)
    folders = sub_folders(root)
    if len(folders) < 2:
        raise ValueError(
            "`data` must hold parquet files or a sub-folder of images for every class, at least two, "
            f"got {len(folders)} sub-folders in {shown(root)}"
        )
    refuse_inner_splits(folders)
    left_out = Counter[str]()
    by_class = [_image_paths(folder, left_out) for folder in folders]
    labels = [k for k, paths in enumerate(by_class) for _ in paths]
    names = [folder.name for folder in folders]
    train = ImageFiles([path for paths in by_class for path in paths], labels, names)
    probe = ImageFiles(_image_paths(held, left_out)) if held else None
    left_out["outside of the class folders"] += len(files_of(root, *SUFFIXES))
    if any(left_out.values()):
        logger.warning("%s: left out %s", shown(path), _counts(left_out))
    return Splits(train, probe, len(folders))


def _image_paths(folder: Path, left_out: Counter[str]) -> list[str]:
    found = list_images(folder)
    if not found.images:
        beside = f" ({_counts(found.others)})" if found.others else ""
        raise ValueError(
            f"`data` must have images ({', '.join(SUFFIXES)}) in every folder, got none in "
            f"{shown(folder)}{beside}"
        )
    left_out.update(found.others)
    return [str(path) for path in found.images]


def _counts(counter: Counter[str]) -> str:
    """The most frequent kinds of files, as in: 3 .heic, 1 .txt."""
    kinds = [(kind, count) for kind, count in counter.most_common() if count]
    texts = [f"{count} {shown(kind)}" for kind, count in kinds[:8]]
    if kinds[8:]:
        texts.append(f"{sum(count for _, count in kinds[8:])} of other endings")
    return ", ".join(texts)
