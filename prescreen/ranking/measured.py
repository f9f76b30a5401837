"""Measured: a cache of measurements across runs, by what defines each of them."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from prescreen.caching import cache_folder, discard, store, used
from prescreen.failures import CandidateFailed
from prescreen.lines import Damaged, content_of, line_of
from prescreen.ranking.continued import failure_stands
from prescreen.ranking.events import CACHED, FINISHED, Event
from prescreen.ranking.jobs import Job
from prescreen.ranking.repeats import Repeat
from prescreen.ranking.replay import Complete, Record, apply

logger = logging.getLogger(__name__)

_MAGIC, _SCHEMA = "prescreen_measurement", 1
_KIND = "measurements"
# Of one of the folders of files, of which there are 256.
_LIMIT = 1 << 24


@dataclass(frozen=True)
class Measurements:
    """A folder of measurements; others may use it at the same time.

    What defines one is the settings of a run as its journal has them, the kind of the machine, the
    candidate's name, config and code, and the seed. A damaged file is ignored.

    Args:
        folder: of the files.
        settings: of the run.
        codes: what builds candidates, by the keys of their trainings.
        complete: what the readings of a training that finished must be.
    """

    folder: Path
    settings: Mapping[str, Any]
    codes: Mapping[str, Mapping[str, str]]
    complete: Complete

    def find(self, training: Repeat) -> Record | None:
        """The measurement of a training; None if there is none."""
        path, header = self._place(training)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        try:
            first, *lines = content.splitlines()
            if content_of(first) != header:
                raise Damaged("it is another measurement")
            records: dict[str, Record] = {}
            for line in lines:
                apply(records, content_of(line), self.complete)
            record = records.get(training.candidate.key)
            if record is None or not record.done:
                raise Damaged("it has no end")
        except (Damaged, ValueError) as error:
            logger.warning("%s is damaged (%s) and ignored: measured again", path, error)
            discard(path)
            return None
        used(path)
        return record

    def keep(self, training: Repeat, record: Record) -> None:
        """Keep the measurement of a training, once it has come to an end that stands."""
        if record.cached or not (record.status == "finished" or _stands(record)):
            return
        path, header = self._place(training)
        events = [header, *_events(training.candidate.key, record)]

        def write(part: Path) -> None:
            part.write_bytes(b"".join(map(line_of, events)))

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        store(path, write, _LIMIT)

    def _place(self, training: Repeat) -> tuple[Path, dict[str, Any]]:
        seed = self.settings["seed"] + training.number
        defined = {
            "settings": {**self.settings, "seed": seed},
            "machine": _machine(self.settings["device"]),
            "candidate": training.candidate.key,
            "code": self.codes.get(training.key, {}),
        }
        header = {_MAGIC: _SCHEMA, **json.loads(json.dumps(defined))}
        text = json.dumps(header, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()
        return self.folder / name[:2] / f"{name[2:34]}.jsonl", header


def _events(key: str, record: Record) -> list[dict[str, Any]]:
    """The events of a record that is done, as a journal has them."""
    readings = [
        {"event": "reading", "candidate": key, "reading": one.to_json(), "number": number}
        for number, one in enumerate(record.trajectory, start=1)
    ]
    is_whole = record.status == "finished"
    end = {"event": "finished"} if is_whole else {"event": "failed", "kind": record.status}
    reason = {} if is_whole else {"reason": record.reason}
    more = {"candidate": key, "readings": len(readings), "time": record.time}
    start = {"event": "started", "candidate": key, "code": dict(record.code), "time": record.time}
    return [start, *readings, {**end, **reason, **more}]


def measurements(
    cache: bool | str | Path,
    settings: Mapping[str, Any],
    codes: Mapping[str, Mapping[str, str]],
    complete: Complete,
) -> Measurements | None:
    """The cache that is asked for; None if there is none.

    Raises:
        ValueError: its place is not that of a folder, or a measurement depends on the machine's speed.
    """
    if cache is False:
        return None
    if settings["seconds"] is not None:
        raise ValueError("`cache` must be False for a budget of seconds, got steps that vary")
    folder = cache_folder(_KIND) if cache is True else Path(cache)
    if folder is None:
        logger.warning("There is no folder for the cache: all is measured")
        return None
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"`cache` must be True, False or a folder, got the file {str(folder)!r}")
    return Measurements(folder, settings, codes, complete)


def taken(
    cache: Measurements | None, waiting: Sequence[Repeat], hear: Callable[[Job, Event], None]
) -> list[Repeat]:
    """Take over what the cache has, as events; returns the trainings that are left."""
    left = []
    for training in waiting:
        record = None if cache is None else cache.find(training)
        if record is None:
            left.append(training)
            continue
        job = Job(training)
        hear(job, CACHED)
        for reading in record.trajectory:
            hear(job, reading)
        is_whole = record.status == "finished"
        hear(job, FINISHED if is_whole else CandidateFailed(record.status, record.reason))
    return left


def _stands(record: Record) -> bool:
    return record.failed and failure_stands(record)


def _machine(device: str) -> str:
    """What computes, as far as the last bits of results depend on it."""
    if device.startswith("cuda") and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(device))
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
