"""Caching: the folder of what can be made again, whose files are whole or not there, up to a limit."""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from prescreen.text import first_line

logger = logging.getLogger(__name__)

# A folder, or OFF; by default ``prescreen`` in the user's folder of caches.
VARIABLE, OFF = "PRESCREEN_CACHE", "off"

# So that programs that keep copies of folders leave these out (bford.info/cachedir).
_TAG = "CACHEDIR.TAG"
_SIGNATURE = "Signature: 8a477f597d28d172789f06886806bc55\n"

# Parts of files that another process is writing are left alone for so many seconds.
_ABANDONED = 24 * 3600.0


def cache_root() -> Path | None:
    """The folder of all that is cached, which need not be there; None if nothing is to be cached."""
    given = os.environ.get(VARIABLE, "")
    if given.lower() == OFF:
        return None
    above = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    try:
        return Path(given).expanduser() if given else above.expanduser() / "prescreen"
    except RuntimeError:  # there is no home
        return None


def cache_folder(kind: str) -> Path | None:
    """The folder of one kind of cached files, which is made; None if there can be none."""
    root = cache_root()
    if root is None:
        return None
    folder = root / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / _TAG).exists():
            (folder / _TAG).write_text(_SIGNATURE, "utf-8")
    except OSError:
        return folder if folder.is_dir() else None  # what is there can be read
    return folder


def is_cached(folder: Path) -> bool:
    """Whether a folder is that of one kind of cached files."""
    return folder.parent == cache_root() and (folder / _TAG).is_file()


def store(path: Path, write: Callable[[Path], object], limit: int) -> None:
    """Write a cached file, whole or not at all, and remove those of its folder used longest ago.

    What fails is logged: whatever is cached can be made again.

    Args:
        path: of the file.
        write: writes to the path that it is given.
        limit: the most bytes in the folder.
    """
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    try:
        write(part)
        part.replace(path)
        _trim(path.parent, limit)
    except (OSError, RuntimeError) as error:  # where the disk is full, torch raises a RuntimeError
        logger.debug("%s could not be written: %s", path, first_line(error))
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def used(path: Path) -> None:
    """Note that a cached file has been used now."""
    with suppress(OSError):
        os.utime(path)


def discard(path: Path) -> None:
    """Remove a cached file, if that is possible."""
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _trim(folder: Path, limit: int) -> None:
    kept = 0
    found = [(path.stat(), path) for path in folder.iterdir() if path.name != _TAG]
    for status, path in sorted(found, key=lambda one: one[0].st_mtime_ns, reverse=True):
        if path.suffix == ".part":
            if time.time() - status.st_mtime > _ABANDONED:
                discard(path)
            continue
        kept += status.st_size
        if kept > limit:
            discard(path)
