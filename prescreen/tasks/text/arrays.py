"""Arrays of token ids in files: .npy, .npz, and raw integers as in .bin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prescreen.tasks.images.splits import probe_role, role
from prescreen.tasks.images.walk import reason, short, shown

_IDS = ("train", "train_ids", "ids", "input_ids", "tokens", "arr_0")
_MASKS = ("attention_mask", "mask")


def read_ids(path: Path) -> Tensor:
    """Ids (T,) or (n, L) of an .npy file, or (T,) of raw 16 or 32 bits, as int32.

    A .bin file is of 16 bits, as nanoGPT writes it, unless every second number is zero, as the upper
    halves of 32 bits are.

    Raises:
        ValueError: the file is damaged, or holds no ids.
    """
    if path.suffix.lower() == ".bin":
        return _as_ids(_raw(path), path)
    return _as_ids(_loaded(path), path)


def read_archive(path: Path, probe: Path | None = None) -> dict[str, Any]:
    """Ids, mask and probe of an .npz archive: see docs/tasks.md for the keys.

    Args:
        path: the archive.
        probe: another file of ids, instead of those in the archive.

    Raises:
        ValueError: the file is damaged, or has no ids.
    """
    archive = _loaded(path)
    if not isinstance(archive, dict):
        raise ValueError(f"`data` must be an .npz archive, got a single array in {shown(path)}")
    key = next((one for one in _IDS if one in archive), None)
    if key is None:
        got = short(", ".join(archive)) or "no keys"
        raise ValueError(
            f"`data` must have one of the keys {', '.join(_IDS)}, got {got} in {shown(path)}"
        )
    held = probe_role(map(role, archive))
    own = next((one for one in archive if held and role(one) == held), None)
    mask = next((one for one in _MASKS if one in archive), None)
    found: dict[str, Any] = {"ids": _as_ids(archive[key], path)}
    if mask is not None:
        found["mask"] = _as_ids(archive[mask], path)
    if probe is not None:
        found["probe"] = read_ids(probe)
    elif own is not None:
        found["probe"] = _as_ids(archive[own], path)
    return found


def _loaded(path: Path) -> Any:
    """The array of an .npy file, or a dict of those in an archive."""
    try:
        # NumPy does not close a file that it opened itself and cannot read.
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, np.ndarray) else dict(loaded)
    # NumPy and zipfile raise errors of any kind for damaged files.
    except Exception as error:
        raise ValueError(
            f"`data` must be a readable file of ids, got {shown(path)}: {reason(error)}"
        ) from error


def _raw(path: Path) -> np.ndarray[Any, Any]:
    size = path.stat().st_size
    if size % 2 or not size:
        raise ValueError(f"`data` must have ids of 16 bits, got {size} bytes in {shown(path)}")
    values = np.fromfile(path, "<u2")
    if size % 4 == 0 and not values[1::2].any() and values.any():
        return values.view("<u4")
    return values


def _as_ids(values: Any, path: Path) -> Tensor:
    kind = getattr(getattr(values, "dtype", None), "kind", None)
    if kind not in ("i", "u", "b") or values.ndim not in (1, 2) or not values.size:
        got = f"{values.dtype} {values.shape}" if kind else type(values).__name__
        raise ValueError(f"`data` must have integers (T,) or (n, L), got {got} in {shown(path)}")
    least, most = int(values.min()), int(values.max())
    if least < 0 or most >= 1 << 31:
        raise ValueError(
            f"`data` must have ids from 0 to 2^31 - 1, got {least if least < 0 else most} in "
            f"{shown(path)}"
        )
    return torch.from_numpy(values.astype(np.int32))
