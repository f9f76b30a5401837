"""Files: text and model states, replaced whole: a kill leaves either the old file or the new one."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prescreen.inert import require_inert, safe_globals
from prescreen.text import first_line

SAFETENSORS = ".safetensors"
PICKLED = ".pt"
# What safetensors can hold in every version; other kinds of numbers go into torch's own format.
_PLAIN = (
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
)
# Where a safetensors file says what it cannot hold: the order of names, and the versions of modules.
_ORDER, _VERSIONS = "prescreen_order", "prescreen_versions"
# How often a file is replaced again that another process has open, and after how many seconds.
_ATTEMPTS, _PAUSE = 10, 0.1


def replace_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, replacing any that is there; lone surrogates are escaped."""
    content = text.encode("utf-8", "backslashreplace")
    _replace(path, lambda part: part.write_bytes(content))


def save_state(stem: Path, state: Mapping[str, Any]) -> Path:
    """Write a model's state as safetensors if possible, else in torch's own format.

    Args:
        stem: the path without an extension.
        state: such as ``model.state_dict()``. Safetensors must be installed; it holds plain tensors
            only, and none that share memory (tied weights).

    Returns:
        The file's path.

    Raises:
        ValueError: a part of ``state`` would not be read back.
    """
    whole = state if type(state) is OrderedDict else dict(state)
    require_inert("state", whole)
    if _fits_safetensors(stem, state) and importlib.util.find_spec("safetensors") is not None:
        from safetensors.torch import save_file

        path = stem.with_name(stem.name + SAFETENSORS)
        plain = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        more = {_ORDER: json.dumps([*state])}
        if versions := getattr(state, "_metadata", None):
            more[_VERSIONS] = json.dumps(versions)
        _replace(path, lambda part: save_file(plain, part, metadata=more))
    else:
        path = stem.with_name(stem.name + PICKLED)
        _replace(path, lambda part: torch.save(whole, part))
    return path


def load_state(path: Path, stand_ins: Iterable[Any] = (), *, mapped: bool = False) -> Any:
    """The content of a checkpoint file, on the CPU; nothing in it is executed.

    Args:
        path: of the file.
        stand_ins: types by the names of others, which a pickle may hold in addition.
        mapped: whether tensors are read when they are used, and processes that map the same file share
            its memory; what one writes to them, others do not see. Not for safetensors.

    Raises:
        ValueError: the file cannot be read, or holds more than tensors and plain Python values.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise ValueError(f"checkpoint must be a file of weights, got {path}, which is no file")
    try:
        if path.suffix == SAFETENSORS:
            return _load_safetensors(path)
        with safe_globals(stand_ins):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
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


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        more = file.metadata() or {}
        order = json.loads(more[_ORDER]) if _ORDER in more else [*file.keys()]
        if sorted(order) != sorted(file.keys()):
            raise ValueError(f"`{_ORDER}` must list the tensors, got {len(order)} names")
        state = OrderedDict((name, file.get_tensor(name)) for name in order)
    if _VERSIONS not in more:
        return dict(state)
    state._metadata = OrderedDict(json.loads(more[_VERSIONS]))  # type: ignore[attr-defined]
    return state


def _fits_safetensors(stem: Path, state: Mapping[str, Any]) -> bool:
    """Whether safetensors gives back the same state; it has no strings but names, and no flags."""
    if not _is_utf8(stem):  # it does not read such files
        return False
    if not all(type(name) is str and name.isascii() for name in state) or "__metadata__" in state:
        return False
    if not all(type(value) is Tensor and _is_plain(value) for value in state.values()):
        return False
    if not _is_json(getattr(state, "_metadata", None)):
        return False
    memory = [value.untyped_storage().data_ptr() for value in state.values() if value.numel()]
    return len(set(memory)) == len(memory)


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_plain(tensor: Tensor) -> bool:
    flags = tensor.requires_grad or tensor.is_conj() or tensor.is_neg() or tensor.is_quantized
    strided = tensor.layout is torch.strided and not flags and not vars(tensor)
    return strided and tensor.dtype in _PLAIN


def _is_json(value: Any) -> bool:
    """Whether a value comes back from JSON as it is."""
    try:
        return bool(json.loads(json.dumps(value)) == value)
    except (TypeError, ValueError):
        return False


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    # Another process may be writing the same file.
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        write(part)
        with part.open("r+b") as file:  # Windows refuses to sync a file that is open for reading
            os.fsync(file.fileno())
        _move(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _move(part: Path, path: Path) -> None:
    """Replace a file. On Windows that fails while somebody, such as a scanner, is reading it."""
    for _ in range(_ATTEMPTS):
        try:
            part.replace(path)
        except PermissionError:
            time.sleep(_PAUSE)
        else:
            return
    part.replace(path)


def sync_folder(folder: Path) -> None:
    """Make sure that the names in a folder survive a loss of power, where the platform can."""
    if hasattr(os, "O_DIRECTORY"):  # not on Windows, where folders cannot be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
