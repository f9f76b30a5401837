"""Replay: the events of a journal, checked before they are written and again when they are read."""

from __future__ import annotations

import math
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from prescreen.failures import KINDS
from prescreen.lines import Damaged
from prescreen.reading import Reading, Trajectory
from prescreen.readouts.committee import unpacked
from prescreen.readouts.parts import PARTS

# What an event must hold, and what it may hold, beside its own name and its candidate's.
_EVENTS: dict[str, tuple[set[str], set[str]]] = {
    "started": (set(), {"code", "time", "cached"}),
    "reading": ({"reading"}, {"number"}),
    "resumed": ({"readings"}, {"time"}),
    "halved": ({"reason", "place", "readings"}, {"time"}),
    "finished": ({"readings"}, {"time"}),
    "failed": ({"kind", "reason"}, {"readings", "time"}),
}
_READING = {"step", "values", "seconds", "training_loss", "parameters"}
_OPTIONAL = {"architecture", "replicates", "predictions", "execution"}
_LARGEST = 2**63

# The status of a candidate that halving ended.
HALVED = "halved"


@dataclass
class Record:
    """The state of one candidate according to the journal.

    Args:
        trajectory: the readings of its latest attempt.
        status: ``"running"``, ``"finished"``, ``"halved"``, or the kind of its failure.
        reason: why it failed, or was ended by halving.
        code: what built it: part to digest or version; empty if unknown.
        time: of its latest event that has one, in seconds since 1970; 0 if unknown.
        rung: how many readings it had where halving ended it; 0 if that did not.
        place: its place there, from 1.
        cached: whether another run has measured it.
    """

    trajectory: Trajectory = field(default_factory=Trajectory)
    status: str = "running"
    reason: str = ""
    code: Mapping[str, str] = field(default_factory=dict)
    time: int = 0
    rung: int = 0
    place: int = 0
    cached: bool = False

    @property
    def done(self) -> bool:
        """Whether it has finished, failed or been ended, and is not measured again."""
        return self.status != "running"

    @property
    def failed(self) -> bool:
        """Whether it has failed, or is above a limit."""
        return self.status in KINDS

    def cut(self, readings: int) -> Record:
        """The record of its first readings, as that of a training that ended there."""
        return Record(Trajectory(self.trajectory.readings[:readings]), "finished", code=self.code)


@dataclass(frozen=True)
class Complete:
    """What the readings of a candidate that finished must be.

    Args:
        names: of the values in each reading.
        readings: how many there may be.
        steps: the step of the last one; None if it is not known beforehand.
    """

    names: Iterable[str]
    readings: range
    steps: int | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any], beside: Collection[str] = ()) -> Complete:
        """What a run of these settings asks for.

        Args:
            settings: of ``rank``, as a journal keeps them.
            beside: readouts that are computed when all candidates have been read.
        """
        names = [*(n for n in settings["readouts"] if n not in beside), *settings["extra"]]
        readings, steps = settings["readings"], settings["steps"]
        if settings["seconds"] is not None:  # several readings may be due at one step
            return cls(names, range(1, readings + 1))
        readings = min(readings, steps)
        return cls(names, range(readings, readings + 1), steps)

    def check(self, trajectory: Trajectory) -> None:
        """Refuse what a finished candidate cannot have.

        Raises:
            Damaged: number, last step or names of its readings are others.
        """
        _need(len(trajectory) in self.readings, f"finished after {len(trajectory)} readings")
        last = trajectory.last.step
        _need(self.steps in (None, last), f"finished at step {last} of {self.steps}")
        for reading in trajectory:
            unlike = sorted(set(self.names) ^ set(reading.values))
            _need(not unlike, f"a reading that differs in {', '.join(unlike)}")


def apply(
    records: dict[str, Record], event: Mapping[str, Any], complete: Complete | None = None
) -> None:
    """Add an event to the records.

    Raises:
        Damaged: it has not the form of an event, or cannot follow those before it; nothing is changed.
    """
    kind, key = event.get("event"), event.get("candidate")
    if not isinstance(kind, str) or kind not in _EVENTS or not isinstance(key, str):
        raise Damaged("it is not an event")
    needed, possible = _EVENTS[kind]
    keys = set(event) - {"event", "candidate"}
    _need(
        needed <= keys <= needed | possible, f"{kind} with {', '.join(sorted(keys)) or 'nothing'}"
    )
    time = _integer("time", event.get("time", 0))
    record = records.get(key, Record())
    if kind == "started":
        cached = event.get("cached", False)
        _need(isinstance(cached, bool), f"cached {cached!r:.40}")
        record = Record(code=_code(event.get("code", {})), cached=cached)
    elif kind == "resumed":
        record = replace(record.cut(_readings(event, record)), status="running")
    elif kind == "halved":
        _need(not record.failed and record.status != "finished", "halved after the end")
        place, reason = _integer("place", event["place"]), event["reason"]
        _need(isinstance(reason, str), f"a reason {reason!r:.40}")
        rung = _readings(event, record)
        record = replace(record, status=HALVED, reason=reason, rung=rung, place=place)
    elif kind == "reading":
        reading = _reading(event["reading"])
        # If the line of a later start was removed by hand, its first reading begins the attempt.
        if _integer("number", event.get("number", 0)) == 1 and (record.trajectory or record.done):
            record = Record()
        _need(not record.done, "a reading after the end")
        steps = [one.step for one in record.trajectory] or [0]
        _need(reading.step > steps[-1], f"step {reading.step} after step {steps[-1]}")
        record.trajectory.append(reading)
    else:
        _need(not record.done, f"{kind} after the end")
        status, reason = event.get("kind", "finished"), event.get("reason", "")
        known = status in KINDS if kind == "failed" else True
        _need(known and isinstance(reason, str), f"a failure of kind {status!r:.40}")
        whole = _integer("readings", event.get("readings", len(record.trajectory)))
        # If a line was removed by hand, the candidate is measured again.
        if whole == len(record.trajectory):
            if kind == "finished" and complete is not None:
                complete.check(record.trajectory)
            record.status, record.reason = status, reason
    record.time = time or record.time
    records[key] = record


def _readings(event: Mapping[str, Any], record: Record) -> int:
    """How many of its readings stand."""
    count, there = _integer("readings", event["readings"]), len(record.trajectory)
    _need(0 < count <= there, f"{event['event']} after {count} of {there} readings")
    return count


def _reading(data: object) -> Reading:
    if not isinstance(data, dict) or set(data) - _OPTIONAL != _READING:
        raise Damaged("a reading with other parts")
    values, architecture = data["values"], data.get("architecture", "")
    texts = architecture, data.get("execution", "")
    if not isinstance(values, dict) or not all(isinstance(text, str) for text in texts):
        raise Damaged("a reading with parts of other types")
    for name, number in values.items():
        _number(name, number)
    for name in ("seconds", "training_loss"):
        _number(name, data[name])
    _replicates(data.get("replicates", {}))
    if "predictions" in data:
        _packed(data["predictions"])
    seconds = float(data["seconds"])
    _need(math.isnan(seconds) or 0 <= seconds < math.inf, f"seconds {seconds}")
    _integer("step", data["step"])
    _integer("parameters", data["parameters"])
    return Reading.from_json(data)


def _replicates(found: object) -> None:
    parts = isinstance(found, dict) and all(
        isinstance(own, list) and len(own) == PARTS for own in found.values()
    )
    _need(parts, "replicates of another form")
    for name, own in found.items() if isinstance(found, dict) else ():
        for number in own:
            _number(name, number)


def _packed(text: object) -> None:
    try:
        unpacked(str(text))
    except ValueError as error:
        raise Damaged("predictions of another form") from error


def _number(name: str, number: object) -> None:
    is_number = isinstance(number, float | int) and not isinstance(number, bool)
    finite = is_number and abs(number) <= sys.float_info.max  # type: ignore[arg-type]
    _need(finite or number in ("nan", "inf", "-inf"), f"{name} {number!r:.40}")


def _code(parts: object) -> dict[str, str]:
    if not isinstance(parts, dict) or not all(isinstance(one, str) for one in parts.values()):
        raise Damaged("`code` of another type")
    return parts


def _integer(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _LARGEST:
        raise Damaged(f"{name} {value!r:.40}")
    return value


def _need(holds: bool, reason: str) -> None:
    if not holds:
        raise Damaged(reason)
