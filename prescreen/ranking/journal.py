"""The journal: an append-only JSON-lines file that survives a kill at any byte.

The first line holds the schema version and the settings of the run. Every other line has a checksum and
is an event of one candidate, or says what a run was asked for. A line counts once its newline is on
disk. A last line without newline was being written when the process died; it is dropped when the journal
is opened again.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from prescreen.lines import Damaged, line_of
from prescreen.ranking.content import Content
from prescreen.ranking.folder import (
    JOURNAL,
    new_header,
    put_aside,
    require_own_folder,
    require_same,
    unusable,
)
from prescreen.ranking.formed import Formed
from prescreen.ranking.outline import Outline
from prescreen.ranking.replay import Complete, Record, apply
from prescreen.reading import Reading


class Journal:
    """The events of one run, kept in a folder, or only in memory if ``folder`` is None.

    Args:
        folder: the place of ``journal.jsonl``; made if absent. A journal of the same settings is
            continued.
        settings: two measurements are the same if these are equal; strict JSON.
        added: settings that earlier versions did not note, and that may be absent from their journals.
        complete: what is known about the readings of finished candidates.
        fresh: begin anew; a journal that is there is kept as ``journal-TIME.jsonl``.

    Attributes:
        records: the state of every candidate, by its key.
        forms: what candidates compute, by their keys.
        unknown: settings in ``added`` that the journal does not hold.
        written: when it was last written to before it was opened, in seconds since 1970; 0 if never.

    Raises:
        ValueError: the folder is not a folder, cannot be written, is in use, or holds other files,
            other settings or a damaged line. It is left as it was.
    """

    def __init__(
        self,
        folder: Path | None,
        settings: Mapping[str, Any],
        *,
        added: Collection[str] = (),
        complete: Complete | None = None,
        fresh: bool = False,
    ) -> None:
        self.records: dict[str, Record] = {}
        self.forms: dict[str, Formed] = {}
        self.unknown: list[str] = []
        self.written = 0.0
        self.folder = folder
        self._complete = complete
        self._outline: Outline | None = None
        self._file = -1
        self._process = os.getpid()
        if folder is None:
            return
        require_own_folder(folder)
        self._lock = FileLock(folder / ".lock")
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise ValueError(
                f"`out` must be a folder that no other run is using, got {str(folder)!r}"
            ) from None
        except OSError as error:
            raise unusable(folder, error) from None
        try:
            if fresh:
                put_aside(folder / JOURNAL)
            self._open(folder / JOURNAL, settings, added)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise unusable(folder, error) from None
            raise

    def asked(self, outline: Outline) -> None:
        """A run begins; what it is asked for is noted unless that is what the last one was."""
        event = json.loads(json.dumps(outline.to_event()))
        outline = Outline.from_event(event)
        if self.folder is not None and outline != self._outline:
            self._append(event)
        self._outline = outline

    def formed(self, key: str, formed: Formed) -> None:
        """It has been found out what a candidate computes."""
        self.forms[key] = formed
        if self.folder is not None:
            self._append(formed.to_event(key))

    def started(
        self, key: str, code: Mapping[str, str] | None = None, *, cached: bool = False
    ) -> None:
        """A candidate begins; readings of earlier attempts no longer count.

        Args:
            key: the candidate's.
            code: what builds it: part to digest or version.
            cached: whether another run has measured what follows.
        """
        more = {"cached": True} if cached else {}
        event = {"event": "started", "candidate": key, "code": dict(code or {}), **more, **_now()}
        self._write(event)

    def resumed(self, key: str, readings: int) -> None:
        """A candidate goes on after so many of its readings; later ones no longer count."""
        self._write({"event": "resumed", "candidate": key, "readings": readings, **_now()})

    def halved(self, key: str, readings: int, place: int, reason: str) -> None:
        """Halving ends a candidate.

        Args:
            key: the candidate's.
            readings: how many it had where it was compared.
            place: from 1, among those that it was compared with.
            reason: for people.
        """
        event = {"event": "halved", "candidate": key, "readings": readings, "place": place}
        self._write({**event, "reason": reason, **_now()})

    def reading(self, key: str, reading: Reading) -> None:
        """A candidate was read."""
        record = self.records.get(key, Record())
        number = 0 if record.done else len(record.trajectory) + 1  # 0 is refused
        event = {"event": "reading", "candidate": key, "reading": reading.to_json()}
        self._write({**event, "number": number})

    def finished(self, key: str) -> None:
        """A candidate reached the end of its budget."""
        self._end(key, {"event": "finished"})

    def failed(self, key: str, kind: str, reason: str) -> None:
        """A candidate cannot be ranked."""
        self._end(key, {"event": "failed", "kind": kind, "reason": reason})

    def close(self) -> None:
        """Release the folder."""
        if os.getpid() != self._process:
            return  # a fork shares the lock with its parent
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        if self.folder is not None:
            self._lock.release()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, path: Path, settings: Mapping[str, Any], added: Collection[str]) -> None:
        content = b""
        if os.path.lexists(path):
            if not path.is_file():  # a pipe would be waited for
                raise ValueError(
                    f"`out` must hold a journal of prescreen, got something else than a file in {path}"
                )
            content, self.written = path.read_bytes(), path.stat().st_mtime
        found = Content.of(path, content)
        if found.version:
            # Settings are compared as they come back from JSON.
            wanted = json.loads(json.dumps(settings))
            self.unknown = require_same(path, found.settings, wanted, added)
        self.records, self._outline, self.forms = found.replay(self._complete)
        binary = getattr(os, "O_BINARY", 0)  # else Windows writes other ends of lines
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | binary, 0o644)
        os.ftruncate(self._file, found.whole)
        if not found.version:
            self._append(new_header(settings))

    def _end(self, key: str, event: dict[str, Any]) -> None:
        readings = len(self.records.get(key, Record()).trajectory)
        self._write({**event, "candidate": key, "readings": readings, **_now()})

    def _write(self, event: dict[str, Any]) -> None:
        if os.getpid() != self._process:
            os._exit(1)  # a candidate's code has forked: this copy must neither write nor go on
        try:
            apply(self.records, event, self._complete)
        except Damaged as error:
            raise ValueError(
                f"events must be those of one screening, got {error} for {event['candidate']!r}"
            ) from None
        if self.folder is not None:
            self._append(event)

    def _append(self, event: dict[str, Any]) -> None:
        line = line_of(event)
        while line:
            line = line[os.write(self._file, line) :]
        os.fsync(self._file)


def _now() -> dict[str, int]:
    return {"time": int(time.time())}
