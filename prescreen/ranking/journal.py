"""The journal: an append-only JSON-lines file that survives a kill at any byte.

The first line holds the schema version and the settings of the run. Every other line is one event of
one candidate. A line counts once its newline is on disk. A last line without newline was being written
when the process died; it is dropped when the journal is opened again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from prescreen.reading import Reading, Trajectory

SCHEMA_VERSION = 1
_MAGIC = "prescreen_journal"
_FILE = "journal.jsonl"


@dataclass
class Record:
    """The state of one candidate according to the journal.

    Args:
        trajectory: the readings of its latest attempt.
        status: ``"running"``, ``"finished"``, or the kind of its failure.
        reason: why it failed.
    """

    trajectory: Trajectory = field(default_factory=Trajectory)
    status: str = "running"
    reason: str = ""

    @property
    def done(self) -> bool:
        """Whether it has finished or failed, and is not measured again."""
        return self.status != "running"


class Journal:
    """The events of one run, kept in a folder, or only in memory if ``folder`` is None.

    Args:
        folder: the place of ``journal.jsonl``; made if absent. A journal of the same settings is
            continued.
        settings: two measurements are the same if these are equal; strict JSON.

    Raises:
        ValueError: the folder is not a folder, cannot be written, is in use, or holds other files,
            other settings or a damaged line. It is left as it was.
    """

    def __init__(self, folder: Path | None, settings: Mapping[str, Any]) -> None:
        self.records: dict[str, Record] = {}
        self.folder = folder
        self._file = -1
        if folder is None:
            return
        _require_own_folder(folder)
        self._lock = FileLock(folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(
                f"`out` must be a folder that no other run is using, got {str(folder)!r}"
            ) from None
        try:
            self._open(folder / _FILE, settings)
        except BaseException:
            self.close()
            raise

    def started(self, key: str) -> None:
        """A candidate begins; readings of earlier attempts no longer count."""
        self._write({"event": "started", "candidate": key})

    def reading(self, key: str, reading: Reading) -> None:
        """A candidate was read."""
        self._write({"event": "reading", "candidate": key, "reading": reading.to_json()})

    def finished(self, key: str) -> None:
        """A candidate reached the end of its budget."""
        readings = len(self.records[key].trajectory)
        self._write({"event": "finished", "candidate": key, "readings": readings})

    def failed(self, key: str, kind: str, reason: str) -> None:
        """A candidate cannot be ranked."""
        self._write({"event": "failed", "candidate": key, "kind": kind, "reason": reason})

    def close(self) -> None:
        """Release the folder."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self.folder is not None:
            self._lock.release()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, path: Path, settings: Mapping[str, Any]) -> None:
        # Settings are compared as they come back from JSON.
        header = json.loads(json.dumps({_MAGIC: SCHEMA_VERSION, "settings": settings}))
        content = path.read_bytes() if path.exists() else b""
        whole = content[: content.rfind(b"\n") + 1]
        lines = whole.splitlines()
        if lines:
            _require_same_run(path, lines[0], header)
        elif not json.dumps(header).encode().startswith(content[:20]):
            raise ValueError(f"`out` must hold a journal of prescreen, got another file in {path}")
        for number, line in enumerate(lines[1:], start=2):
            self._replay(path, number, line)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._file, len(whole))
        if not lines:
            self._append(header)

    def _replay(self, path: Path, number: int, line: bytes) -> None:
        try:
            self._apply(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"`out` must hold undamaged events, got {line[:40]!r} ({type(error).__name__}) as line "
                f"{number} of {path}; remove the line to measure its candidate again, or choose another "
                "folder"
            ) from None

    def _write(self, event: dict[str, Any]) -> None:
        if self.folder is not None:
            self._append(event)
        self._apply(event)

    def _append(self, event: dict[str, Any]) -> None:
        line = json.dumps(event, allow_nan=False).encode() + b"\n"
        while line:
            line = line[os.write(self._file, line) :]
        os.fsync(self._file)

    def _apply(self, event: dict[str, Any]) -> None:
        key, kind = event["candidate"], event["event"]
        if kind == "started":
            self.records[key] = Record()
            return
        record = self.records.setdefault(key, Record())
        if kind == "reading":
            record.trajectory.append(Reading.from_json(event["reading"]))
        elif kind == "finished":
            # If a line was removed by hand, the candidate is measured again.
            whole = len(record.trajectory) == event["readings"]
            record.status = "finished" if whole else "running"
        elif kind == "failed":
            record.status, record.reason = event["kind"], event["reason"]
        else:
            raise ValueError(kind)


def _require_own_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = not (folder / _FILE).exists() and any(
            entry.name != ".lock" for entry in folder.iterdir()
        )
    except OSError as error:
        raise ValueError(
            f"`out` must be a folder that can be written, got {str(folder)!r} ({error.strerror})"
        ) from None
    if foreign:
        raise ValueError(
            f"`out` must be an empty folder or one of an earlier run, got {str(folder)!r}, which "
            "holds other files"
        )
    if not os.access(folder, os.W_OK):
        raise ValueError(f"`out` must be a folder that can be written, got {str(folder)!r}")


def _require_same_run(path: Path, line: bytes, header: dict[str, Any]) -> None:
    try:
        found = json.loads(line)
        version, settings = found[_MAGIC], dict(found["settings"])
    except (ValueError, KeyError, TypeError):
        raise ValueError(
            f"`out` must hold a journal of prescreen, got another file in {path}"
        ) from None
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"`out` must hold a journal of schema {SCHEMA_VERSION}, got {version} in {path}"
        )
    wanted = header["settings"]
    unlike = [k for k in {**wanted, **settings} if wanted.get(k) != settings.get(k)]
    if unlike:
        got = "; ".join(f"{k} {settings.get(k)} instead of {wanted.get(k)}" for k in sorted(unlike))
        raise ValueError(f"`out` must be a folder of the same settings, got {path} with {got}")
