"""The bytes of image files, decoded to tensors."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from prescreen.tasks.images.walk import reason

# Only these are opened: others may start programs, as PostScript does, whatever the file is called.
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


def decode(
    encoded: bytes | BinaryIO, origin: str, convert: Callable[[Any], Any] | None = None
) -> Any:
    """An image file's content as (1, H, W) or (3, H, W); an error names its `origin`.

    Args:
        encoded: the file, or its bytes.
        origin: where it is from.
        convert: what a Pillow image becomes, by default such a tensor.

    Raises:
        ValueError: it is no such image, it is damaged, or it is too large.
    """
    pillow = required("PIL.Image", "reading images")
    file = io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded
    try:
        return (convert or from_pillow)(pillow.open(file, formats=_FORMATS))
    except (pillow.DecompressionBombError, pillow.DecompressionBombWarning) as error:
        raise ValueError(
            f"`data` must hold images of a size that Pillow opens, got {origin}: {reason(error)}"
        ) from error
    # Pillow raises errors of any kind for damaged files.
    except Exception as error:
        fault = _fault(error, file, pillow)
        raise ValueError(f"`data` must hold undamaged images, got {origin}: {fault}") from error


def _fault(error: Exception, file: BinaryIO, pillow: Any) -> str:
    if not file.seek(0, io.SEEK_END):
        return "it is empty"
    if isinstance(error, pillow.UnidentifiedImageError):
        return f"it is none of {', '.join(_FORMATS)}"
    return reason(error)


def from_pillow(image: Any) -> Tensor:
    """A Pillow image as (1, H, W) if grey, else (3, H, W).

    Of dtype uint8; uint16 for images of 16 bits, float32 for other deep ones.
    """
    if image.mode[0] in "IF":
        # Some files of 16 bits come as 32-bit integers.
        has_16_bits = image.mode.startswith("I;16") or (
            image.mode == "I" and image.format in ("PNG", "PPM")
        )
        return torch.from_numpy(np.array(image, np.uint16 if has_16_bits else np.float32))[None]
    if image.mode == "P":
        image = image.convert("RGBA")  # a transparent palette would cause a warning
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode in ("1", "LA", "La") else "RGB")
    pixels = torch.from_numpy(np.array(image))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def required(module: str, what: str, extra: str = "images") -> Any:
    """Import a module of an extra."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        line = f"{what} needs the '{extra}' extra: pip install 'prescreen[{extra}]'"
        raise ImportError(line) from error
