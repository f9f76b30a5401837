"""Decoded: tasks from a user's files are kept as they were read, so that files are decoded once."""

from __future__ import annotations

import importlib
import logging
import time
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from prescreen.caching import cache_folder, discard, store, used
from prescreen.files import load_state
from prescreen.tasks.depends_on import depends_on
from prescreen.tasks.images.views import mirrored_and_back
from prescreen.text import first_line

logger = logging.getLogger(__name__)

KIND = "decoded"

# The most bytes that are kept: what was used longest ago goes.
LIMIT = 8 << 30

# What is read in less than so many seconds is not kept.
WORTHWHILE = 0.5

# What a kept task may hold beside classes of this package: reading one calls nothing else.
_FUNCTIONS: tuple[Any, ...] = (functional.cross_entropy, mirrored_and_back, range)
_OURS = ("prescreen.tasks.", "prescreen.part.")


def decoded(make: Callable[[], Any], options: Mapping[str, Any], root: Path) -> Any:
    """A task as it was kept, if its files are those of then; else it is made, and kept.

    What was logged and warned of when it was made comes again.

    Args:
        make: gives the task.
        options: all that `make` depends on, but for the content of files.
        root: the folder of downloads.
    """
    folder = cache_folder(KIND)
    key = None if folder is None else depends_on(options, root)
    if folder is None or key is None:
        return make()
    path = folder / f"{key}.pt"
    if (kept := _read(path)) is not None:
        _say(kept["said"])
        return kept["task"]
    start = time.perf_counter()
    with _heard() as said:
        task = make()
    if time.perf_counter() - start >= WORTHWHILE and depends_on(options, root) == key:
        store(path, lambda part: _write(part, {"task": task, "said": said}), LIMIT)
    return task


def _write(part: Path, content: Mapping[str, Any]) -> None:
    try:
        torch.save(content, part)
    except Exception as error:  # a user's own objects can raise anything
        raise OSError(first_line(error)) from error
    if _allowed(part) is None:
        raise OSError("it holds more than values")


def _read(path: Path) -> Any:
    """What is kept in a file, mapped into memory; None if there is none, or it is damaged."""
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
        if wrong is not None:
            raise zipfile.BadZipFile(f"{wrong} has another checksum")
        if (allowed := _allowed(path)) is None:
            raise zipfile.BadZipFile("it holds more than values")
        kept = load_state(path, allowed, mapped=True)
        used(path)
        return kept
    except Exception as error:  # a damaged file can raise anything
        logger.warning("decoded data are read anew: %s is damaged (%s)", path, first_line(error))
        discard(path)
        return None


def _allowed(path: Path) -> list[Any] | None:
    """The classes of this package in a file, and those functions; None if there is more."""
    known = {f"{one.__module__}.{one.__qualname__}": one for one in _FUNCTIONS}
    found = []
    for name in torch.serialization.get_unsafe_globals_in_checkpoint(path):
        module, _, attribute = name.rpartition(".")
        one = known.get(name)
        if one is None and name.startswith(_OURS):
            one = getattr(importlib.import_module(module), attribute, None)
        if one not in _FUNCTIONS and not isinstance(one, type):
            return None
        found.append(one)
    return found


class _Hearing(logging.Handler):
    def __init__(self, said: list[tuple[str, int, str]]) -> None:
        super().__init__(logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append((record.name, record.levelno, record.getMessage()))


@contextmanager
def _heard() -> Iterator[list[tuple[str, int, str]]]:
    """What is logged or warned of inside the context, which is said all the same."""
    said: list[tuple[str, int, str]] = []
    handler, ours = _Hearing(said), logging.getLogger("prescreen")
    ours.addHandler(handler)
    try:
        with warnings.catch_warnings(record=True) as warned:
            yield said
    finally:
        ours.removeHandler(handler)
    for one in warned:
        said.append(("", 0, str(one.message)))
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)


def _say(said: Iterable[tuple[str, int, str]]) -> None:
    for name, level, text in said:
        if name:
            logging.getLogger(name).log(level, "%s", text)
        else:
            warnings.warn(text, stacklevel=4)
