"""Record: the state of one run according to its folder, every line of which is checked."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prescreen.checkpoints.kept import ENDINGS, Kept, is_stem
from prescreen.checkpoints.readings import reading_from_json
from prescreen.checks import require, require_at_least
from prescreen.lines import Damaged, content_of
from prescreen.reading import Reading
from prescreen.text import named_line

MANIFEST = "selection.jsonl"
LOCK = ".lock"
MAGIC, VERSION = "prescreen_selection", 2
_EARLIER = "selection.json"


@dataclass
class Record:
    """The state of one run.

    Args:
        readings: in the order of their steps.
        files: those kept, by step; None if another process writes it, or none does.
        leftovers: files that a process which died may not have deleted.
        claims: names without an ending, of files that it may have begun.
    """

    readings: list[Reading] = field(default_factory=list)
    files: dict[int, Kept | None] = field(default_factory=dict)
    leftovers: list[Kept] = field(default_factory=list)
    claims: list[str] = field(default_factory=list)

    def before(self, step: int) -> Record:
        """The record when training was at an earlier step than this."""
        count = bisect_left(self.readings, step, key=lambda reading: reading.step)
        return Record(self.readings[:count], {s: k for s, k in self.files.items() if s < step})

    @property
    def of_files(self) -> list[Reading]:
        """The readings of the files."""
        places = (bisect_left(self.readings, s, key=lambda one: one.step) for s in self.files)
        return [self.readings[place] for place in places]

    def lacking(self, files: Mapping[int, Kept | None]) -> list[Kept]:
        """The files that are not among others."""
        return [kept for kept in self.files.values() if kept and kept not in files.values()]

    def to_state(self) -> dict[str, Any]:
        """The record as strict JSON, with whole paths."""
        files = {step: kept and kept.to_json(plain=False) for step, kept in self.files.items()}
        return {
            "readings": [reading.to_json() for reading in self.readings],
            "files": {str(step): kept for step, kept in files.items()},
        }

    @classmethod
    def from_state(
        cls, state: Mapping[str, Any], names: Sequence[str], folder: Path | None
    ) -> Record:
        """What ``to_state`` gave, without files that have changed or are missing by now.

        Args:
            state: the state.
            names: readouts that every reading has.
            folder: where files are looked for first; None for a record without files.

        Raises:
            ValueError: it is not the state of such a record.
        """
        try:
            readings = [reading_from_json(reading, names) for reading in state["readings"]]
            files = {int(s): file and Kept.from_json(file) for s, file in state["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"`state` must be one of a selector with the same readouts, got {named_line(error)}"
            ) from None
        if folder is None:
            return cls(readings, dict.fromkeys(files))
        found = {step: kept and kept.found(folder) for step, kept in files.items()}
        return cls(readings, {step: kept for step, kept in found.items() if kept})

    def clean(self, folder: Path) -> None:
        """Delete what a process that died has left, as far as the manifest named it."""
        for kept in self.leftovers:
            if kept.is_whole:
                kept.path.unlink()
        for name in (f"{stem}{ending}" for stem in self.claims for ending in ENDINGS):
            for file in (folder / name, *folder.glob(f".{name}.*.part")):
                file.unlink(missing_ok=True)
        self.leftovers, self.claims = [], []


def read_record(folder: Path, settings: Mapping[str, Any]) -> Record | None:
    """The record of a folder, which is not changed; None if there is no manifest.

    Raises:
        ValueError: the folder holds other things, is of another version or other settings, a line is
            damaged, or a file is missing.
    """
    while True:
        content = _content(folder)
        if content is None:
            return None
        record = _replay(folder / MANIFEST, content, settings)
        missing = [kept for kept in record.files.values() if kept and not kept.is_there]
        if not missing:
            return record
        if _content(folder) == content:  # else a selector that is in use has just deleted it
            raise ValueError(
                f"`folder` must hold the files that its {MANIFEST} lists, got {str(missing[0].path)!r} "
                "missing, a link or of another size; put it back, or choose another folder"
            )


def _content(folder: Path) -> bytes | None:
    try:
        if (folder / MANIFEST).is_file() and not (folder / MANIFEST).is_symlink():
            return (folder / MANIFEST).read_bytes()
        names = [entry.name for entry in folder.iterdir()] if folder.exists() else []
    except OSError as error:
        raise ValueError(
            f"`folder` must be a folder that can be read, got {str(folder)!r} ({error.strerror})"
        ) from None
    if _EARLIER in names:
        raise ValueError(
            f"`folder` must be one of this version of prescreen, got {str(folder)!r}, which an "
            f"earlier one wrote ({_EARLIER}); its step-* files can be loaded as they are"
        )
    # A kill during the first update leaves a lock, and perhaps a part of a manifest.
    if any(name != LOCK and not name.startswith(f".{MANIFEST}.") for name in names):
        raise ValueError(f"`folder` must be empty or one of a selector, got {str(folder)!r}")
    return None


def _replay(path: Path, content: bytes, settings: Mapping[str, Any]) -> Record:
    lines = content.split(b"\n")
    if _is_cut(lines[-1]):
        del lines[-1]
    record, number = Record(), 1
    try:
        header = content_of(lines[0] if lines else b"")
        found = (header[MAGIC], dict(header["settings"]))
        for line in lines[1:] if found == (VERSION, settings) else ():
            number += 1
            _apply(record, content_of(line), path.parent, settings["readouts"])
    except (Damaged, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"`folder` must hold an undamaged {MANIFEST}, got line {number} of {str(path)!r}: "
            f"{error if type(error) in (Damaged, ValueError) else named_line(error)}"
        ) from None
    if found[0] != VERSION:
        raise ValueError(
            f"`folder` must hold a manifest of version {VERSION}, got {found[0]!r} in {str(path)!r}"
        )
    if found[1] != settings:
        raise ValueError(
            f"`folder` must be one of the same settings, got {str(path.parent)!r} with {found[1]}"
        )
    return record


def _is_cut(line: bytes) -> bool:
    """Whether a line without an end is the beginning of one, rather than a whole and damaged one."""
    try:
        json.JSONDecoder().raw_decode(line.decode(errors="replace"))
    except ValueError:
        return True
    return False


def _apply(record: Record, event: dict[str, Any], folder: Path, names: Sequence[str]) -> None:
    if "claim" in event:
        require("claim", "a name that selectors give", event["claim"], is_stem(event["claim"]))
        record.claims.append(event["claim"])
        return
    reading = reading_from_json(event["reading"], names)
    # What earlier lines dropped was deleted before this one was written.
    record.leftovers, record.claims = [], []
    if "dropped" in event:
        by_name = {kept.path.name: (step, kept) for step, kept in record.files.items() if kept}
        for name in event["dropped"]:
            step, kept = by_name[name]
            del record.files[step]
            record.leftovers.append(kept)
    while record.readings and record.readings[-1].step >= reading.step:
        record.readings.pop()
    record.readings.append(reading)
    if "file" in event:
        record.files[reading.step] = Kept.from_json(event, folder)
    latest = next(reversed(record.files), 0)
    require_at_least("step", reading.step, latest)  # files of later steps are dropped at a return
