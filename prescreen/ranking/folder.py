"""Folder: what a run's folder must be, and the first line of its journal."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from prescreen.lines import Damaged, content_of

JOURNAL = "journal.jsonl"
# 1 had no checksums, 2 no replicates and no repeats, 3 no outlines, 4 no halving: they are read, and
# continued with them.
SCHEMA_VERSION = 5
ANEW = "another folder or --fresh, in Python fresh=True, begins anew"
# What earlier versions did not note, since they did nothing else.
_OF_EARLIER = {"execution": "plain"}
_MAGIC = "prescreen_journal"
_EARLIER = "journal-"  # a journal that was put aside


def require_own_folder(folder: Path) -> None:
    """Make a run's folder, or refuse what is in its place.

    Raises:
        ValueError: it is not a folder, cannot be written, or holds other files.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        entries = {entry.name for entry in folder.iterdir()}
    except OSError as error:
        raise unusable(folder, error) from None
    ours = JOURNAL in entries or any(name.startswith(_EARLIER) for name in entries)
    if entries - {".lock"} and not ours:
        raise ValueError(
            f"`out` must be an empty folder or one of an earlier run, got {str(folder)!r}, which "
            "holds other files"
        )
    if not os.access(folder, os.W_OK):
        raise ValueError(f"`out` must be a folder that can be written, got {str(folder)!r}")


def unusable(folder: Path, error: OSError) -> ValueError:
    """The refusal of a folder in which files cannot be read or written."""
    return ValueError(
        f"`out` must be a folder that can be written, got {str(folder)!r} ({error.strerror})"
    )


def put_aside(path: Path) -> None:
    """Rename a journal, if there is one: nothing that was measured is lost.

    Raises:
        ValueError: the file is not a journal.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        if not begins_like_one(file.read(40)):
            raise ValueError(f"`out` must hold a journal of prescreen, got another file in {path}")
    stamp = time.strftime("%Y%m%dT%H%M%S")
    names = (f"{_EARLIER}{stamp}{more}.jsonl" for more in ["", *(f"-{n}" for n in range(2, 1000))])
    path.rename(next(one for one in map(path.with_name, names) if not one.exists()))


def begins_like_one(content: bytes) -> bool:
    """Whether a file begins like a journal, perhaps one that was cut in its first line."""
    begin = f'{{"{_MAGIC}": '.encode()
    return content.startswith(begin[: len(content)])


def new_header(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The first line of a new journal."""
    return {_MAGIC: SCHEMA_VERSION, "settings": settings}


def header_of(path: Path, line: bytes, argument: str = "out") -> tuple[int, dict[str, Any]]:
    """Schema version and settings in the first line of a journal.

    Args:
        path: of the file, for messages.
        line: without its newline.
        argument: what messages call the place of the file.

    Raises:
        ValueError: it is damaged, of a later version, or that of another file.
    """
    try:
        header = content_of(line, checked=False)
        version, settings = header[_MAGIC], dict(header["settings"])
        content_of(line, checked=version > 1)
    except (Damaged, KeyError, TypeError, ValueError) as error:
        damage = isinstance(error, Damaged) and begins_like_one(line)
        what = f"a damaged line 1 ({error})" if damage else "another file"
        raise ValueError(
            f"`{argument}` must hold a journal of prescreen, got {what} in {path}"
        ) from None
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise ValueError(
            f"`{argument}` must hold a journal of schema 1 to {SCHEMA_VERSION}, got {version} in {path}"
        )
    return version, settings


def require_same(
    path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any], added: Collection[str]
) -> list[str]:
    """Refuse other settings.

    Returns:
        Those of ``added`` that are not noted, as an earlier version wrote the journal.

    Raises:
        ValueError: the others are not equal.
    """
    found = {**{key: value for key, value in _OF_EARLIER.items() if key in wanted}, **found}
    unknown = [key for key in added if key in wanted and key not in found]
    keys = {**wanted, **found}.keys() - unknown
    unlike = [key for key in keys if wanted.get(key) != found.get(key)]
    if unlike:
        got = "; ".join(f"{k} {found.get(k)} instead of {wanted.get(k)}" for k in sorted(unlike))
        raise ValueError(
            f"`out` must be a folder of the same settings, got {path} ({ANEW}) with {got}"
        )
    return unknown
