"""Importing: modules and files that a user names, with one-line errors."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from prescreen.interrupts import is_from_outside
from prescreen.text import named_line

# The top-level folder search_spaces/ is installed under this name. Its modules are listed at run time,
# not imported by name.
BUILT_IN = "prescreen.search_spaces"

FUNCTION = "package.module:function or FILE.py:function"


def built_in_spaces() -> list[str]:
    """The names of the search spaces that come with prescreen; none of them is imported."""
    package = importlib.import_module(BUILT_IN)
    return sorted(module.name for module in pkgutil.iter_modules(package.__path__))


def import_module(name: str, argument: str) -> ModuleType | None:
    """Import a module by its dotted name; None if there is no such module.

    Raises:
        ValueError: it cannot be imported; the message begins with the argument's name.
    """
    try:
        return importlib.import_module(name)
    except BaseException as error:  # a module can raise anything, sys.exit() included
        if is_from_outside(error):
            raise
        # "import a.b" fails for a or a.b itself, or for something that a.b imports.
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if (missing and f"{name}.".startswith(f"{missing}.")) or not name.strip("."):
            return None
        raise ValueError(_failure(argument, name, error)) from error


def import_function(reference: str, argument: str) -> Callable[..., Any]:
    """The function that ``"FILE.py:function"`` or ``"package.module:function"`` names.

    Raises:
        ValueError: it is not found, or its module cannot be imported; the message begins with the
            argument's name.
    """
    where, _, function = reference.rpartition(":")
    if not where:
        raise ValueError(f"`{argument}` must be {FUNCTION}, got {reference!r}")
    found = import_file if where.endswith(".py") else import_module
    module = found(where, argument)
    value = getattr(module, function, None)
    if not callable(value):
        problem = "is not found" if module is None else f"has no function {function}"
        raise ValueError(f"`{argument}` must be {FUNCTION}, got {reference!r}, which {problem}")
    return cast("Callable[..., Any]", value)


def import_file(file: str | Path, argument: str) -> ModuleType | None:
    """Import a Python file, again after each modification; None if there is no such file.

    The module's name is made from the path: it is the same in every process.

    Raises:
        ValueError: it cannot be imported; the message begins with the argument's name.
    """
    path = Path(file).expanduser().resolve()
    return _import_file(path, path.stat().st_mtime_ns, argument) if path.is_file() else None


@functools.lru_cache
def _import_file(path: Path, modified: int, argument: str) -> ModuleType:
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{digest}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"`{argument}` must be a Python file FILE.py, got {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent))  # as for a script: its neighbours can be imported
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        sys.modules.pop(spec.name, None)
        if is_from_outside(error):
            raise
        raise ValueError(_failure(argument, str(path), error)) from error
    finally:
        if str(path.parent) in sys.path:  # unless the file removed it
            sys.path.remove(str(path.parent))
    return module


def _failure(argument: str, name: str, error: BaseException) -> str:
    """One line that names the line of the imported file at which its import failed."""
    ours = (__file__, importlib.__file__)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in ours and not frame.filename.startswith("<frozen importlib")
    ]
    where = ""
    if isinstance(error, SyntaxError) and error.filename:
        where = f" at {error.filename}, line {error.lineno}"
    elif frames:
        lines = [frame.lineno for frame in frames if frame.filename == frames[0].filename]
        where = f" at {frames[0].filename}, line {lines[-1]}"
    failure = named_line(error)
    return f"`{argument}` must be importable, got {name}, which fails{where}: {failure}"
