"""States: paused trainings on disk, so that they go on from where they were."""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from prescreen.text import first_line

logger = logging.getLogger(__name__)

_FOLDER = "paused"


class States:
    """Files of states in a run's folder, or in a temporary one.

    A state that is lost, or cannot be written, only costs time: its training begins again.

    Args:
        folder: of the run; None for a temporary one.
    """

    def __init__(self, folder: Path | None) -> None:
        self._temporary = folder is None
        self._folder = None if folder is None else folder / _FOLDER
        self._known: dict[str, dict[int, Path]] = {}
        there = self._folder is not None and self._folder.is_dir()
        for path in self._folder.iterdir() if there and self._folder else ():
            name, _, readings = path.name.partition("-")
            if readings.isdecimal():
                self._known.setdefault(name, {})[int(readings)] = path

    def keep(self, key: str, readings: int, state: bytes | None) -> None:
        """Keep the state of a training after so many readings, in place of its earlier one."""
        if state is None:
            return
        try:
            path = self._place() / f"{_name(key)}-{readings}"
            part = path.with_suffix(".part")
            part.write_bytes(state)
            part.replace(path)
        except OSError as error:
            logger.warning("A paused training could not be kept: %s", first_line(error))
            return
        earlier = self._known.get(_name(key), {})
        self._known[_name(key)] = {readings: path}
        _remove(one for count, one in earlier.items() if count != readings)

    def latest(self, key: str, readings: int) -> tuple[Path | None, int]:
        """The latest state of a training that has no more than so many readings, and how many it has."""
        known = self._known.get(_name(key), {})
        count = max((one for one in known if one <= readings), default=0)
        return known.get(count), count

    def drop(self, key: str) -> None:
        """Forget the states of a training."""
        _remove(self._known.pop(_name(key), {}).values())

    def close(self, *, done: bool) -> None:
        """Remove the folder if it is a temporary one, or its run is done."""
        if self._folder is not None and (done or self._temporary):
            shutil.rmtree(self._folder, ignore_errors=True)

    def _place(self) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="prescreen-"))
        self._folder.mkdir(exist_ok=True)
        return self._folder


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError:  # it is only in the way
            pass


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:32]
