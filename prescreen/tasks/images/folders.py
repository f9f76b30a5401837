"""Image files and folders of them, as map-style data sets."""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

# Validation images come first: test images stay unseen for a check at the end.
PROBE_SPLITS = ("validation", "valid", "val", "test")

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class Splits(NamedTuple):
    """Labelled training images, separate images for the probe batch if any, and K if known."""

    train: Dataset[Any]
    probe: Dataset[Any] | None
    num_classes: int | None


@dataclass(frozen=True, eq=False)
class ImageFiles(Dataset[Any]):
    """One image per file: items are (image, class index), or (image, None) without labels."""

    paths: Sequence[str]
    labels: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, i: int) -> tuple[Tensor, int | None]:
        try:
            encoded = Path(self.paths[i]).read_bytes()
        except OSError as error:
            raise ValueError(
                f"`data` must have readable files, got {self.paths[i]}: {error.strerror}"
            ) from error
        return decode(encoded, self.paths[i]), None if self.labels is None else self.labels[i]


def decode(encoded: bytes, origin: str) -> Tensor:
    """The bytes of an image file as (1, H, W) or (3, H, W); an error names their `origin`."""
    pillow = required("PIL.Image", "reading images")
    try:
        return from_pillow(pillow.open(io.BytesIO(encoded)))
    # Pillow raises any of these for damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, pillow.DecompressionBombError) as error:
        raise ValueError(f"`data` must hold undamaged images, got {origin}") from error


def from_pillow(image: Any) -> Tensor:
    """A Pillow image as uint8 (1, H, W) if grey, else (3, H, W); float32 above 8 bits a channel."""
    if image.mode[0] in "IF":
        return torch.from_numpy(np.array(image, np.float32))[None]
    if image.mode == "P":
        image = image.convert("RGBA")  # a transparent palette would cause a warning
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def class_indices(values: np.ndarray[Any, Any], where: str) -> tuple[Tensor, int]:
    """Class indices (n,) from integers, or from sorted names, and the number of classes.

    Raises:
        ValueError: the labels are neither; the message says `where` they are.
    """
    if values.dtype.kind in "US":
        names, values = np.unique(values, return_inverse=True)
        return torch.from_numpy(values.astype(np.int64)), len(names)
    if values.dtype.kind not in "iub" or values.min() < 0:
        got = values.min() if values.dtype.kind == "i" else values.dtype
        raise ValueError(f"the labels{where} must be class indices from 0 or names, got {got}")
    return torch.from_numpy(values.astype(np.int64)), int(values.max()) + 1


def required(module: str, what: str) -> Any:
    """Import a module of the `images` extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        line = f"{what} needs the 'images' extra: pip install 'prescreen[images]'"
        raise ImportError(line) from error


def open_folder(path: Path) -> Splits:
    """Open a folder with a sub-folder of images for each class, or with such a folder `train`."""
    root = path / "train" if (path / "train").is_dir() else path
    folders = sorted(f for f in root.iterdir() if f.is_dir() and not f.name.startswith("."))
    if len(folders) < 2:
        raise ValueError(
            "`data` must hold parquet files or a sub-folder of images for every class, at least two, "
            f"got {len(folders)} sub-folders in {root}"
        )
    by_class = [_image_paths(folder) for folder in folders]
    labels = [k for k, paths in enumerate(by_class) for _ in paths]
    train = ImageFiles([path for paths in by_class for path in paths], labels)
    held = [path / name for name in PROBE_SPLITS if root != path and (path / name).is_dir()]
    return Splits(train, ImageFiles(_image_paths(held[0])) if held else None, len(folders))


def _image_paths(folder: Path) -> list[str]:
    paths = sorted(path for path in folder.rglob("*") if not path.name.startswith("."))
    found = [str(path) for path in paths if path.suffix.lower() in _SUFFIXES]
    if not found:
        raise ValueError(
            f"`data` must have images ({', '.join(_SUFFIXES)}) in every folder, got none in {folder}"
        )
    return found
