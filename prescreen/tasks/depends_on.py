"""What a decoded task depends on: options, files, and the code that reads them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from prescreen.caching import is_cached

# A folder with more files than this is read anew: looking at all of them takes as long.
_MOST_FILES = 1_000_000

# Libraries that decode. What they make may change with their version.
_DECODERS = (
    *("numpy", "torch", "torchvision", "pillow", "pyarrow", "pandas", "scikit-learn", "timm"),
    *("tokenizers", "transformers"),
)


def depends_on(options: Mapping[str, Any], root: Path) -> str | None:
    """A hash of options, files and decoders; None if not all of them can be told."""
    if not all(map(_is_plain, options.values())):
        return None
    parts = [f"{name}={value!r}" for name, value in sorted(options.items())]
    texts = [str(value) for value in options.values() if isinstance(value, str | Path)]
    paths = {path for text in texts if (path := _path_in(text)) is not None}
    if _path_in(str(options["data"])) is None:  # the name of a download
        paths.add(str(root))
    try:
        for path in sorted(paths):
            parts += _files(Path(path).expanduser().absolute())
    except OSError:
        return None
    parts += [f"{sys.version}", *map(_version, _DECODERS), _code()]
    return hashlib.sha256("\n".join(parts).encode(errors="backslashreplace")).hexdigest()


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str | Path)


def _path_in(text: str) -> str | None:
    """The path in ``PATH``, ``KIND:PATH`` or ``KIND:PATH#columns``; None if nothing is there."""
    inner = text.partition(":")[2]
    for path in (text, inner, inner.rpartition("#")[0]):
        try:
            if path and os.path.exists(os.path.expanduser(path)):
                return path
        except ValueError:  # a null byte
            return None
    return None


def _files(path: Path) -> Iterator[str]:
    """Every file at or below a path, with its size and when it was changed.

    Raises:
        OSError: a folder cannot be read, is a link, or holds too many files.
    """
    if not path.is_dir():
        yield _stated(path, path.stat()) if path.exists() else f"{path} is not there"
        return
    waiting, count = [str(path)], 0
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                count += 1
                if count > _MOST_FILES or (entry.is_symlink() and entry.is_dir()):
                    raise OSError(f"{entry.path} is not followed")
                if not entry.is_dir():
                    yield _stated(entry.path, entry.stat())
                elif not is_cached(Path(entry.path)):
                    waiting.append(entry.path)


def _stated(path: str | Path, status: os.stat_result) -> str:
    # The time of the last change of its entry tells files apart whose own time was put back.
    return f"{path} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def _version(library: str) -> str:
    try:
        return f"{library} {importlib.metadata.version(library)}"
    except importlib.metadata.PackageNotFoundError:
        return library


def _code() -> str:
    """A hash of the code of tasks."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
