"""Importing: modules and files that a user names, with errors of one line."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import sys
import traceback
from pathlib import Path
from types import ModuleType

# What a user's file raises while it is imported; anything else keeps its own traceback.
_IMPORT_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


def import_module(name: str, argument: str) -> ModuleType | None:
    """Import a module by its dotted name; None if there is none of that name.

    Raises:
        ValueError: it cannot be imported; the message begins with the argument's name.
    """
    try:
        return importlib.import_module(name)
    except _IMPORT_ERRORS as error:
        # "import a.b" fails for a or a.b itself, or for something that a.b imports.
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if (missing and f"{name}.".startswith(f"{missing}.")) or not name.strip("."):
            return None
        raise ValueError(f"{argument}: {_failure(name, error)}") from error


def import_file(file: str | Path, argument: str) -> ModuleType | None:
    """Import a Python file, once for every time it was modified; None if there is none.

    It is registered under a name made from its path, which is the same in every process.

    Raises:
        ValueError: it cannot be imported; the message begins with the argument's name.
    """
    path = Path(file).expanduser().resolve()
    return _import_file(path, path.stat().st_mtime_ns, argument) if path.is_file() else None


@functools.lru_cache
def _import_file(path: Path, modified: int, argument: str) -> ModuleType:
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    spec = importlib.util.spec_from_file_location(f"{path.stem}_{digest}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{argument}: a Python file FILE.py is needed, got {path}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    sys.path.insert(0, str(path.parent))  # as for a script: its neighbours can be imported
    try:
        spec.loader.exec_module(module)
    except _IMPORT_ERRORS as error:
        del sys.modules[spec.name]
        raise ValueError(f"{argument}: {_failure(str(path), error)}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _failure(name: str, error: Exception) -> str:
    """One line: the line of the imported file at which its import went wrong."""
    ours = (__file__, importlib.__file__)
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename not in ours and not frame.filename.startswith("<frozen importlib")
    ]
    where = name
    if isinstance(error, SyntaxError) and error.filename:
        where = f"{error.filename}, line {error.lineno}"
    elif frames:
        lines = [frame.lineno for frame in frames if frame.filename == frames[0].filename]
        where = f"{frames[0].filename}, line {lines[-1]}"
    reason = str(error).partition("\n")[0]
    return f"{name} cannot be imported, {where}: {type(error).__name__}: {reason}"
