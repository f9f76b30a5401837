"""Files: text and model states, replaced whole: a kill leaves either the old file or the new one."""

from __future__ import annotations

import argparse
import importlib.util
import os
import pathlib
import re
import threading
import types
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from prescreen.text import first_line

SAFETENSORS = ".safetensors"
PICKLED = ".pt"

_RECONSTRUCT: Any = np.array(0).__reduce__()[0]
_SCALAR: Any = np.float32(0).__reduce__()[0]

# What a pickle may name beside what torch itself allows: types that hold values and do nothing else.
# Paths of the other system become pure ones; NumPy's functions have moved within it.
SAFE_TYPES: Mapping[str, Callable[..., Any]] = {
    "argparse.Namespace": argparse.Namespace,
    "types.SimpleNamespace": types.SimpleNamespace,
    **{
        f"{module}.{name}": getattr(pathlib, name if safe else f"Pure{name}")
        for module in ("pathlib", "pathlib._local")
        for name, safe in (
            *((name, True) for name in ("PurePosixPath", "PureWindowsPath")),
            *((name, name == type(Path()).__name__) for name in ("PosixPath", "WindowsPath")),
        )
    },
    "numpy.ndarray": np.ndarray,
    "numpy.dtype": np.dtype,
    **{
        f"numpy.{core}.multiarray.{name}": function
        for core in ("core", "_core")
        for name, function in (("_reconstruct", _RECONSTRUCT), ("scalar", _SCALAR))
    },
    **{
        f"{kind.__module__}.{kind.__qualname__}": kind
        for kind in {type(np.dtype(code)) for code in "?bBhHiIlLqQefdgFDGmMSUVO"}
    },
}
_allowing = threading.Lock()  # torch has one list of allowed names, for all threads


def replace_text(path: Path, text: str) -> None:
    """Write a text file, replacing any that is there."""
    _replace(path, lambda part: part.write_text(text))


def save_state(stem: Path, state: Mapping[str, Any]) -> Path:
    """Write a model's state as safetensors if possible, else in torch's own format.

    Args:
        stem: the path without an extension.
        state: such as ``model.state_dict()``. Safetensors must be installed; it holds tensors only,
            and none that share memory (tied weights).

    Returns:
        The file's path.
    """
    plain = {name: _alone(value) for name, value in state.items()}
    if _fits_safetensors(state) and importlib.util.find_spec("safetensors") is not None:
        from safetensors.torch import save_file

        path = stem.with_name(stem.name + SAFETENSORS)
        _replace(path, lambda part: save_file(plain, part))
    else:
        path = stem.with_name(stem.name + PICKLED)
        _replace(path, lambda part: torch.save(dict(state), part))
    return path


def load_state(path: Path, also: Mapping[str, Callable[..., Any]] | None = None) -> Any:
    """The content of a checkpoint file, on the CPU; nothing in it is executed.

    Args:
        path: of the file.
        also: what else a pickle may name, beside ``SAFE_TYPES``, and what stands for it.

    Raises:
        ValueError: the file cannot be read, or holds more than tensors and inert Python values.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ValueError(f"checkpoint must be a file of weights, got {path}, which is no file")
    try:
        if path.suffix == SAFETENSORS:
            from safetensors.torch import load_file

            return load_file(path)
        with _allowed({**SAFE_TYPES, **(also or {})}):
            return torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise ValueError(
            f"checkpoint {path} needs the safetensors package: pip install safetensors"
        ) from error
    except Exception as error:  # unpickling foreign bytes can raise anything
        raise ValueError(
            f"checkpoint must be a file of weights, got {path} ({_unreadable(path, error)})"
        ) from error


def _unreadable(path: Path, error: Exception) -> str:
    """Why a file cannot be read, without torch's advice to allow it to execute code."""
    named = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
    if named is not None:
        return f"it holds {named[1]}, which is no value"
    if path.is_file() and not path.stat().st_size:
        return "it is empty"
    told = re.search(r"WeightsUnpickler error: (.+)", str(error))
    return (told[1] if told is not None else first_line(error))[:200]


@contextmanager
def _allowed(types: Mapping[str, Callable[..., Any]]) -> Iterator[None]:
    """Let torch's unpickler use types under names; what the user has allowed stays allowed."""
    if not hasattr(torch.serialization, "safe_globals"):  # torch 2.4
        yield
        return
    with _allowing:
        theirs = torch.serialization.get_safe_globals()
        ours = [_under(name, kind) for name, kind in types.items()]
        with torch.serialization.safe_globals([kind for kind in ours if kind not in theirs]):
            yield


def _under(name: str, kind: Callable[..., Any]) -> Callable[..., Any]:
    """A function or type under a name, by which torch knows it."""
    module, _, own = name.rpartition(".")
    if (kind.__module__, kind.__qualname__) == (module, own):
        return kind

    def call(*args: Any) -> Any:
        return kind(*args)

    call.__module__, call.__qualname__ = module, own
    return call


def _fits_safetensors(state: Mapping[str, Any]) -> bool:
    if not all(
        isinstance(value, Tensor) and value.layout is torch.strided for value in state.values()
    ):
        return False
    memory = [value.untyped_storage().data_ptr() for value in state.values() if value.numel()]
    return len(set(memory)) == len(memory)


def _alone(value: Any) -> Any:
    return value.detach().cpu().contiguous() if isinstance(value, Tensor) else value


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    part = path.with_name(path.name + ".part")
    write(part)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
