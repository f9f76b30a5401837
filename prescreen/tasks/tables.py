"""Tables: inputs and targets of CSV, TSV and parquet files and .npz archives, all numbers.

``houses.csv#price,area`` names the columns that are targets. One column of paths may stand for images.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from prescreen.tasks.images.decode import required
from prescreen.tasks.images.folders import ImageFiles
from prescreen.tasks.images.layouts import Layout, fit, held_dtype, is_channels_last
from prescreen.tasks.images.walk import reason, short, shown

Columns: TypeAlias = Mapping[str, np.ndarray[Any, Any]]

# A column with such a name is a target unless others are named.
_TARGET = re.compile(r"(target|label)s?([_ .-].*|\d*)|y\d*", re.IGNORECASE)
_ARCHIVE = (("x_train", "y_train"), ("x", "y"), ("inputs", "targets"), ("images", "targets"))
_COMMAS = {".csv": ",", ".tsv": "\t"}


class Table(NamedTuple):
    """Inputs (n, F) or images (n, C, H, W), standardised, and targets (n, K) by name, as they are."""

    inputs: Tensor
    targets: Tensor
    names: tuple[str, ...]


def open_table(data: str | Path, image_size: int | None = None) -> Table:
    """The table of a file.

    Args:
        data: the file's path; behind ``#``, the names of the columns that are targets. By default
            they are those called ``target``, ``label`` or ``y``, also with an ending such as
            ``label_cat`` or ``y2``; failing that, the last column.
        image_size: height and width of images in pixels; by default those of the first one.

    Raises:
        ValueError: the file is damaged or of another kind, or a column is not of numbers.
        ImportError: a file of columns needs the `images` extra.
    """
    path, wanted = _parted(str(data))
    if path.suffix.lower() == ".npz":
        if wanted:
            raise ValueError(f"`data` must name no columns of an archive, got {', '.join(wanted)}")
        return _archive(path, image_size)
    columns = _columns(path)
    names = _target_names([*columns], wanted, path)
    targets = torch.stack([_numbers(columns[name], name, path) for name in names], dim=1)
    others = {name: values for name, values in columns.items() if name not in names}
    if not others:
        raise ValueError(f"`data` must have a column that is no target, got none in {shown(path)}")
    return Table(_inputs(others, path, image_size), targets, tuple(names))


def standardised(values: Tensor) -> Tensor:
    """Values (n, ...) with mean 0 and deviation 1 in every column or channel; constant ones become 0."""
    axes = [axis for axis in range(values.ndim) if axis != 1]
    centred = values - values.mean(axes, keepdim=True)
    spread = centred.square().mean(axes, keepdim=True).sqrt()
    return centred / torch.where(spread > 1e-6 * values.abs().amax(axes, keepdim=True), spread, 1.0)


def _parted(data: str) -> tuple[Path, list[str]]:
    path, mark, names = data.rpartition("#")
    if not mark or Path(data).exists():
        return Path(data), []
    return Path(path), [name.strip() for name in names.split(",") if name.strip()]


def _columns(path: Path) -> Columns:
    """The columns of a file by name, in order."""
    if not path.is_file():
        raise ValueError(f"`data` must be a file, got {shown(path)}")
    ending = path.suffix.lower()
    if ending not in (*_COMMAS, ".parquet"):
        allowed = ".csv, .tsv, .parquet or .npz"
        raise ValueError(f"`data` must end with {allowed}, got {shown(path)}")
    readers: dict[str, Callable[[], Any]] = {
        ".parquet": lambda: required("pyarrow.parquet", "reading tables").read_table(path),
        **dict.fromkeys(_COMMAS, lambda: _separated(path, _COMMAS[ending])),
    }
    try:
        table = readers[ending]()
        found = {name: table[name].to_numpy() for name in table.column_names}
    except ImportError:
        raise
    except Exception as error:  # pyarrow raises errors of any kind for damaged files
        raise ValueError(
            f"`data` must be a readable table, got {shown(path)}: {reason(error)}"
        ) from error
    if not table.num_rows:
        raise ValueError(f"`data` must be a table with rows, got none in {shown(path)}")
    return found


def _separated(path: Path, separator: str) -> Any:
    csv = required("pyarrow.csv", "reading tables")
    return csv.read_csv(path, parse_options=csv.ParseOptions(delimiter=separator))


def _target_names(columns: Sequence[str], wanted: Sequence[str], path: Path) -> Sequence[str]:
    if lacking := [name for name in wanted if name not in columns]:
        raise ValueError(
            f"`data` must name columns behind # that the table has ({short(', '.join(columns))}), "
            f"got {', '.join(lacking)} for {shown(path)}"
        )
    return wanted or [one for one in columns if _TARGET.fullmatch(one)] or columns[-1:]


def _numbers(values: np.ndarray[Any, Any], name: str, path: Path) -> Tensor:
    if values.dtype.kind not in "biuf":
        raise ValueError(
            f"`data` must have a number in every row, got {values[0]!r} in column {name!r} of "
            f"{shown(path)}"
        )
    numbers = values.astype(np.float32)
    if bad := int((~np.isfinite(numbers)).sum()):
        raise ValueError(
            f"`data` must have a number in every row, got {bad} empty or infinite ones in column "
            f"{name!r} of {shown(path)}"
        )
    return torch.from_numpy(numbers)


def _inputs(columns: Columns, path: Path, image_size: int | None) -> Tensor:
    first, *others = columns.values()
    if not others and first.dtype.kind in "OU":
        return _images([path.parent / str(value) for value in first], image_size)
    return standardised(
        torch.stack([_numbers(values, name, path) for name, values in columns.items()], dim=1)
    )


def _images(paths: Sequence[Path], image_size: int | None) -> Tensor:
    files = ImageFiles([str(path) for path in paths])
    first = files[0][0]
    channels, height, width = first.shape
    layout = Layout(channels, image_size or height, image_size or width, first.dtype)
    held = [fit(files[index][0][None], layout) for index in range(len(files))]
    return standardised(torch.cat(held).to(held_dtype(layout.dtype)).float())


def _archive(path: Path, image_size: int | None) -> Table:
    try:
        with np.load(path, allow_pickle=False) as archive:
            keys = next((pair for pair in _ARCHIVE if {*pair} <= {*archive.files}), None)
            arrays = [] if keys is None else [archive[key] for key in keys]
            got = ", ".join(archive.files)
    except Exception as error:  # NumPy and zipfile raise errors of any kind for damaged files
        raise ValueError(
            f"`data` must be an undamaged archive, got {shown(path)}: {reason(error)}"
        ) from error
    if keys is None:
        pairs = " or ".join(" and ".join(pair) for pair in _ARCHIVE)
        raise ValueError(f"`data` must have the keys {pairs}, got {short(got)} in {shown(path)}")
    inputs, targets = (
        _numbers(values, key, path) for key, values in zip(keys, arrays, strict=True)
    )
    if inputs.ndim == 3 or (inputs.ndim == 4 and is_channels_last(inputs.shape[1:], keys[0])):
        inputs = inputs.unsqueeze(1) if inputs.ndim == 3 else inputs.permute(0, 3, 1, 2)
    if inputs.ndim == 4 and image_size is not None:
        inputs = fit(inputs, Layout(inputs.shape[1], image_size, image_size, inputs.dtype))
    if inputs.ndim not in (2, 4) or targets.ndim not in (1, 2) or len(inputs) != len(targets):
        raise ValueError(
            f"`data` must have {keys[0]} (n, F) or of images and {keys[1]} (n,) or (n, K), got "
            f"{tuple(inputs.shape)} and {tuple(targets.shape)} in {shown(path)}"
        )
    targets = targets.reshape(len(targets), -1)
    names = tuple(f"{keys[1]} {index}" for index in range(targets.shape[1]))
    return Table(standardised(inputs), targets, names)
