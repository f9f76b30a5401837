"""Foreign files: checkpoints of other programs, with objects of any kind beside the weights."""

from __future__ import annotations

import builtins
import sys
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prescreen.files import SAFETENSORS, load_state
from prescreen.inert import safe_globals

# Modules of the standard library that hold values; whatever another one is asked for could do something.
_VALUES = (
    *("argparse", "array", "collections", "copyreg", "dataclasses", "datetime", "decimal", "enum"),
    *("fractions", "functools", "ipaddress", "logging", "numbers", "pathlib", "random", "re"),
    *("time", "types", "typing", "uuid", "zoneinfo"),
)

# NumPy's arrays of objects and of records are built of parts that were allowed one by one.
_OF_NUMPY = (type(np.dtype("O")), type(np.dtype("V")))


class Inert(list[Any]):
    """Stands for an object of a class that is not imported; its state is dropped."""

    origin = ""

    def __new__(cls, *args: Any, **keywords: Any) -> Inert:
        """Nothing is made of the arguments."""
        return super().__new__(cls)

    def __init__(self, *args: Any, **keywords: Any) -> None:
        super().__init__()

    def __setstate__(self, state: Any) -> None:
        """The state is dropped."""

    def __hash__(self) -> int:  # type: ignore[override]  # lists have none, keys need one
        return id(self)


class InertMapping:
    """The same for files with mappings of foreign classes: torch fills plain ones only."""

    def __new__(cls, *args: Any, **keywords: Any) -> Any:
        """An empty mapping."""
        return OrderedDict[Any, Any]()


def load_foreign(path: Path) -> Any:
    """The content of a checkpoint file; objects of classes that torch does not know are ``Inert``.

    Nothing is imported or executed for the file.

    Raises:
        ValueError: the file cannot be read, or names functions that could do something.
    """
    names = _foreign_names(path)
    if refused := sorted(name for name in names if _acts(name)):
        raise ValueError(
            f"checkpoint must be a file of weights, got {path}, which asks for "
            f"{', '.join(refused[:3])}"
        )
    try:
        return load_state(path, _stand_ins(names, Inert))
    except ValueError:
        if not names:
            raise
        return load_state(path, _stand_ins(names, InertMapping))


def _foreign_names(path: Path) -> set[str]:
    """Names in a pickle of what ``load_state`` does not allow; none if it is damaged."""
    if path.suffix == SAFETENSORS or not path.is_file():
        return set()
    try:
        with safe_globals():
            return {*torch.serialization.get_unsafe_globals_in_checkpoint(path)}
    except Exception:  # load_state says what is wrong with the file
        return set()


def _acts(name: str) -> bool:
    """Whether a name is of the standard library and not that of a value."""
    root, _, rest = name.partition(".")
    if root == "builtins":
        return not isinstance(getattr(builtins, rest, None), type)
    return root in sys.stdlib_module_names and root not in _VALUES


def _stand_ins(names: Iterable[str], kind: type) -> list[type]:
    """A type of a kind under each name."""
    made = list(_OF_NUMPY)
    for name in names:
        module, _, own = name.rpartition(".")
        under = {"__module__": module, "__qualname__": own, "origin": name}
        made.append(type(own, (kind,), under))
    return made
