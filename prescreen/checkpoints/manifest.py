"""Manifest: the one writer of a folder in which a selector keeps files.

An append-only file. The first line holds the version and the settings. Then there are two kinds of
lines. A claim names a file before it is written. An update holds a reading, the file that was written
for it, and those that are dropped with it, which are deleted afterwards.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from prescreen.checkpoints.kept import ENDINGS, Kept
from prescreen.checkpoints.record import (
    LOCK,
    MAGIC,
    MANIFEST,
    VERSION,
    Record,
    read_record,
)
from prescreen.files import replace_text
from prescreen.lines import line_of
from prescreen.reading import Reading
from prescreen.text import first_line

# What updates continue: nothing, the folder's run, a state that was loaded, or earlier updates.
Continues = Literal["nothing", "folder", "state", "itself"]


class Manifest:
    """Holds the folder's lock until it is closed, collected, or its process ends.

    Raises:
        ValueError: the folder cannot be written, or another selector is using it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process = os.getpid()
        self._left: list[Kept] = []  # dropped, but not deleted yet
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # One lock for all threads: garbage may be collected in any of them.
            self._lock = FileLock(folder / LOCK, thread_local=False)
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(
                f"`folder` must be one that no other selector is using, got {str(folder)!r}; close "
                "that selector, or choose another folder"
            ) from None
        except (OSError, NotImplementedError) as error:  # the latter: no locks there
            raise ValueError(
                f"`folder` must be a folder that can be written, got {str(folder)!r} "
                f"({first_line(error)})"
            ) from None

    @property
    def is_ours(self) -> bool:
        """Whether this process holds the lock; a process that was forked from it does not."""
        return self._process == os.getpid()

    def write(self, settings: Mapping[str, Any], record: Record) -> None:
        """Write the manifest whole."""
        lines = [{MAGIC: VERSION, "settings": settings}]
        lines += [_update(one, record.files.get(one.step), ()) for one in record.readings]
        replace_text(self.folder / MANIFEST, b"".join(map(line_of, lines)).decode())

    def claim(self, step: int) -> Path:
        """A new name for the file of a step, without an ending; no file of this name is there."""
        stem = f"step-{step:08d}"
        number = 0
        while any(os.path.lexists(self.folder / f"{stem}{ending}") for ending in ENDINGS):
            number += 1
            stem = f"step-{step:08d}-{number}"
        self._append({"claim": stem})
        return self.folder / stem

    def update(self, reading: Reading, kept: Kept | None, dropped: Iterable[Kept]) -> None:
        """Append a reading, and delete the files that are dropped with it."""
        dropped = [*dropped]
        self._append(_update(reading, kept, dropped))
        self._left = [one for one in (*self._left, *dropped) if not _is_deleted(one)]

    def close(self) -> None:
        """Release the folder."""
        if self.is_ours:
            self._lock.release()

    def _append(self, content: Mapping[str, Any]) -> None:
        line = line_of(content)
        with (self.folder / MANIFEST).open("r+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                while line:
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
            except BaseException:  # the disk is full: no half line may stand before the next one
                file.truncate(size)
                raise


def begin(
    folder: Path, settings: Mapping[str, Any], ours: Record, continues: Continues
) -> tuple[Manifest, Record]:
    """Take a folder to write to it.

    Args:
        folder: where.
        settings: of the selector.
        ours: what the selector knows; files may be in other folders.
        continues: where it knows that from.

    Returns:
        The manifest, and the record with which the run goes on.

    Raises:
        ValueError: the folder is in use, damaged, or holds another run.
    """
    manifest = Manifest(folder)
    try:
        found = read_record(folder, settings) or Record()
        _require_same_run(folder, found, ours, continues)
        if continues == "folder":
            ours = found
        brought = {s: kept and _brought(kept, folder) for s, kept in ours.files.items()}
        record = Record(ours.readings, {step: kept for step, kept in brought.items() if kept})
        found.clean(folder)
        manifest.write(settings, record)
        for kept in found.lacking(record.files):
            _is_deleted(kept)
    except BaseException:
        manifest.close()
        raise
    return manifest, record


def _brought(kept: Kept, folder: Path) -> Kept | None:
    return kept if kept.path.parent == folder else kept.copied_to(folder)


def _require_same_run(folder: Path, found: Record, ours: Record, continues: Continues) -> None:
    if continues == "folder" or (continues != "itself" and not found.readings):
        return
    if continues == "nothing":
        raise ValueError(
            f"`folder` must be new for a new training, got {str(folder)!r}, which holds checkpoints "
            "of an earlier run; pass resume=True to continue that run, or choose another folder"
        )
    count = 1 if continues == "state" else None
    if [r.to_json() for r in found.readings[:count]] != [
        r.to_json() for r in ours.readings[:count]
    ]:
        raise ValueError(
            f"`folder` must be of the same run, got {str(folder)!r}, which now holds another; "
            "choose another folder"
        )


def _is_deleted(kept: Kept) -> bool:
    """Delete a file; Windows does not if it is being read."""
    with suppress(OSError):
        kept.path.unlink(missing_ok=True)
        return True
    return False


def _update(reading: Reading, kept: Kept | None, dropped: Iterable[Kept]) -> dict[str, Any]:
    file = {} if kept is None else kept.to_json(plain=True)
    names = [one.path.name for one in dropped]
    return {"reading": reading.to_json(), **file, **({"dropped": names} if names else {})}
