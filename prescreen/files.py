"""Files: text and model states, replaced whole: a kill leaves either the old file or the new one."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prescreen.text import first_line

SAFETENSORS = ".safetensors"
PICKLED = ".pt"


def replace_text(path: Path, text: str) -> None:
    """Write a text file as UTF-8, replacing any that is there; lone surrogates are escaped."""
    content = text.encode("utf-8", "backslashreplace")
    _replace(path, lambda part: part.write_bytes(content))


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


def load_state(path: Path) -> Any:
    """The content of a checkpoint file, on the CPU; nothing in it is executed.

    Raises:
        ValueError: the file cannot be read, or holds more than tensors and plain Python values.
    """
    try:
        if path.suffix == SAFETENSORS:
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        raise ValueError(
            f"checkpoint {path} needs the safetensors package: pip install safetensors"
        ) from error
    except Exception as error:  # unpickling foreign bytes can raise anything
        raise ValueError(
            f"checkpoint must be a file of weights, got {path} ({first_line(error)})"
        ) from error


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
