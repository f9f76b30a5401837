"""Inert: what a file of weights may hold beside tensors, so that reading it executes nothing."""

from __future__ import annotations

import datetime
import decimal
import pathlib
import threading
from argparse import Namespace
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

# Values without parts that are written and read back as they are.
_VALUES: tuple[type, ...] = (
    *(type(None), bool, int, float, complex, str, bytes, bytearray),
    *(torch.Size, torch.dtype, torch.device, torch.layout),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone),
    *(decimal.Decimal, type(pathlib.PurePath()), type(pathlib.Path())),
)
_SEQUENCES: tuple[type, ...] = (list, tuple, set, frozenset)
_MAPPINGS: tuple[type, ...] = (dict, OrderedDict, Counter)  # no others are read back
_LAYOUTS = (
    *(torch.strided, torch.sparse_coo, torch.sparse_csr, torch.sparse_csc),
    *(torch.sparse_bsr, torch.sparse_bsc),
)
# Of NumPy: numbers, times and text; no objects, no records.
_KINDS = "?bhilqpBHILQPefdgFDGSUMm"
_PART_BYTES = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in range(1, 8))

_allowing = threading.Lock()  # torch has one list of allowed types, for all threads

_OF_NUMPY: dict[str, Any] = {
    "scalar": np.float64(0).__reduce__()[0],
    "_reconstruct": np.empty(0).__reduce__()[0],
}

# What torch.load may build in addition to its own list: all of these only hold values. Some have another
# name in other versions of NumPy and Python.
SAFE_TYPES: tuple[Any, ...] = (
    *(bytes, frozenset, Namespace, decimal.Decimal),
    *(datetime.date, datetime.datetime, datetime.time, datetime.timedelta, datetime.timezone),
    *(type(pathlib.PurePath()), type(pathlib.Path())),
    *((type(pathlib.PurePath()), f"pathlib.{type(pathlib.PurePath()).__name__}"),),
    *((type(pathlib.Path()), f"pathlib.{type(pathlib.Path()).__name__}"),),
    *(np.ndarray, np.dtype, *{type(np.dtype(kind)) for kind in _KINDS}),
    *(
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for name, function in _OF_NUMPY.items()
    ),
)


@contextmanager
def safe_globals(stand_ins: Iterable[Any] = ()) -> Iterator[None]:
    """Let ``torch.load(..., weights_only=True)`` build ``SAFE_TYPES`` and stand-ins as well.

    What else is allowed in this process stays allowed.
    """
    ours = [*SAFE_TYPES, *stand_ins]
    with _allowing:
        theirs = torch.serialization.get_safe_globals()
        with torch.serialization.safe_globals([one for one in ours if one not in theirs]):
            yield


def require_inert(argument: str, tree: Any) -> None:
    """Refuse what would not be read back from a file as it is.

    Raises:
        ValueError: a part is neither a tensor with data nor a plain value, or parts are nested too
            deeply; names the part and its type.
    """
    try:
        problem = next(_problems(tree, argument, {}), None)
    except RecursionError:
        problem = "a tree that is nested too deeply"
    if problem is not None:
        raise ValueError(f"`{argument}` must hold tensors and plain values, got {problem}")


def _problems(value: Any, path: str, seen: dict[int, object]) -> Iterator[str]:
    """What cannot be kept, each a type and where it is."""
    if id(value) in seen:
        return
    kind = type(value)
    if kind in _VALUES:
        if isinstance(value, datetime.datetime | datetime.time) and value.tzinfo is not None:
            yield from _problems(value.tzinfo, f"{path}.tzinfo", seen)
        return
    seen[id(value)] = value  # held, lest another object get its id
    if isinstance(value, Tensor):
        if problem := _tensor_problem(value):
            yield f"{problem} at {path}"
        parts = {f"{path}.{name}": part for name, part in vars(value).items()}
    elif isinstance(value, np.ndarray | np.generic):
        if value.dtype.char not in _KINDS or (isinstance(value, np.ndarray) and kind != np.ndarray):
            yield f"{kind.__module__}.{kind.__qualname__} of {value.dtype} at {path}"
        return
    elif kind in _SEQUENCES:
        parts = {f"{path}[{place}]": part for place, part in enumerate(value)}
    elif kind in _MAPPINGS:
        yield from _problems([*value], f"{path}.keys()", seen)
        parts = {f"{path}[{key!r}]": part for key, part in value.items()}
        parts |= {f"{path}.{name}": part for name, part in getattr(value, "__dict__", {}).items()}
    elif kind is Namespace:
        parts = {f"{path}.{name}": part for name, part in vars(value).items()}
    else:
        yield f"{kind.__module__}.{kind.__qualname__} at {path}".removeprefix("builtins.")
        return
    for where, part in parts.items():
        yield from _problems(part, where, seen)


def _tensor_problem(tensor: Tensor) -> str:
    """Why a tensor cannot be kept; empty if it can."""
    kind = type(tensor)
    if kind not in (Tensor, nn.Parameter):
        return f"a tensor of the class {kind.__module__}.{kind.__qualname__}"
    if tensor.is_meta:
        return "a tensor without data (device meta)"
    if tensor.is_nested or tensor.layout not in _LAYOUTS:
        return f"a tensor of the layout {'nested' if tensor.is_nested else tensor.layout}"
    if str(tensor.dtype).removeprefix("torch.") in _PART_BYTES:
        return f"a tensor of {tensor.dtype}"
    return ""
