"""Shared: what all workers of a machine are given, with its tensors in one file that each of them maps.

A copy in every worker would take as many times the memory, and pickling one takes longer. A worker that
writes to a tensor has the pages to itself.
"""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prescreen.ranking.executors.base import Pickler as _Plain
from prescreen.ranking.executors.base import pickled

# Arrays of NumPy with fewer bytes are pickled as they are.
_LARGE = 1 << 20

# Of NumPy's types those that torch has, in the byte order of this machine.
_KINDS = "?bBhilqefd"

# The folder that this worker has mapped a file of. It is the parent's to remove, unless that is gone.
_mapped: list[Path] = []


class Pickler(_Plain):
    """Gives arrays as tensors, whose memory is kept apart."""

    def reducer_override(self, value: Any) -> Any:
        """How a value is pickled, if otherwise than usual."""
        if not isinstance(value, np.ndarray) or not _is_plain(value):
            return super().reducer_override(value)
        writable = value if value.flags.writeable else value.copy()
        return Tensor.numpy, (torch.from_numpy(writable),)


@contextmanager
def shared(name: str, value: object) -> Iterator[bytes]:
    """A value as bytes to send to workers of this machine, inside the context.

    Args:
        name: what it is called, for messages.
        value: what workers get.

    Raises:
        ValueError: it cannot be pickled.
    """
    with ExitStack() as stack:
        # It cannot be pickled, which is said then; or there is no room for a file.
        try:
            folder = tempfile.TemporaryDirectory(prefix="prescreen-", ignore_cleanup_errors=True)
            file = Path(stack.enter_context(folder)) / "shared.pt"
            own, protocol = sys.modules[__name__], pickle.DEFAULT_PROTOCOL
            torch.save(value, file, pickle_module=own, pickle_protocol=protocol)
            message = pickle.dumps(_Mapped(file))
        except Exception:
            message = pickled(name, value)
        yield message


def _is_plain(array: np.ndarray[Any, Any]) -> bool:
    """Whether an array is large, and torch has the like."""
    known = type(array) is np.ndarray and array.dtype.char in _KINDS and array.dtype.isnative
    return known and array.nbytes >= _LARGE and array.flags.c_contiguous


def remove_abandoned() -> None:
    """In a worker whose parent is gone: remove the file, which nobody else will."""
    for folder in _mapped:
        shutil.rmtree(folder, ignore_errors=True)


class _Mapped:
    """Is unpickled as the content of a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __reduce__(self) -> Any:
        return _load, (os.fspath(self._file),)


def _load(file: str) -> Any:
    _mapped.append(Path(file).parent)
    return torch.load(file, mmap=True, weights_only=False)
