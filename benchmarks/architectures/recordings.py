"""Recordings read again: captures, readouts and truths, without training.

``load("timm", RECORDINGS, TRUTHS)`` gives all recorded candidates of a space whose truth is known, and
``Recording.value("agreement@mirror")`` a number of one of them. Recordings are in half precision.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.architectures.proxies import UNTRAINED
from benchmarks.architectures.record import FAILED, READINGS, RECORDED
from benchmarks.architectures.spaces import SPACES, published_rows
from benchmarks.architectures.table import RESULTS
from benchmarks.baselines import AT_INITIALISATION
from benchmarks.baselines.curves import tse, tse_e
from benchmarks.common.results import Row, column, read
from prescreen.captured import Capture, NonFiniteError
from prescreen.predictions import Logits
from prescreen.ranks import Floats
from prescreen.readouts import get_readout

# The share of the steps whose mean loss is TSE-E.
LATE = 1 / 4


@dataclass(frozen=True, eq=False)
class Recording:
    """What was recorded of a candidate; only what is asked for is loaded.

    Args:
        path: of the arrays, or of the reason of a failure.
        number: its place among the candidates of its space.
        truth: accuracy in percent.
    """

    path: Path
    number: int
    truth: float

    @cached_property
    def failure(self) -> str:
        """Why it failed; empty if it did not."""
        return "" if self.path.suffix == RECORDED else self.path.read_text().splitlines()[1]

    @cached_property
    def name(self) -> str:
        """The candidate's."""
        if self.path.suffix == FAILED:
            return self.path.read_text().splitlines()[0]
        return str(self.array("name"))

    def array(self, key: str) -> np.ndarray[Any, Any]:
        """An array as it is in the file.

        Raises:
            KeyError: there is none of that name.
        """
        return _array(self.path, key)

    def at(self, key: str, reading: int = -1) -> Tensor:
        """The part of an array that belongs to a reading, as float32.

        Args:
            key: of the array.
            reading: from 0, or from the end if it is negative.

        Raises:
            KeyError: this was not recorded at that reading.
        """
        kept = self.array(key)
        every = READINGS // len(kept)
        place, rest = divmod(reading % READINGS + 1, every)
        if rest:
            raise KeyError(f"{key} was not recorded at reading {reading % READINGS + 1}")
        return torch.from_numpy(np.asarray(kept[place - 1], np.float32))

    def head(self, reading: int = -1) -> Capture:
        """The head on the probe batch.

        Raises:
            NonFiniteError: a value was beyond half precision.
        """
        return _head(self.path, reading % READINGS)

    def value(self, name: str, reading: int = -1) -> float:
        """One number of the candidate; NaN if it failed or if the number is undefined for it.

        Args:
            name: one of `BASELINES`, or a readout. The view of a readout that needs one is shifted;
                ``agreement@mirror`` takes another one of those that were recorded.
            reading: as for `at`.

        Raises:
            KeyError: what it needs was not recorded at that reading.
            ValueError: there is no such readout.
        """
        readout = None if name in BASELINES else get_readout(name.partition("@")[0])
        if self.failure:
            return math.nan
        if readout is None:
            return BASELINES[name][0](self, reading)
        if readout.of_network:
            return float(self.array(f"untrained.{name}"))
        if readout.of_before and reading % READINGS == 0:
            return math.nan
        view = name.partition("@")[2] or "shift"
        try:
            return readout(*(self._subject(need, view, reading) for need in readout.needs))
        except NonFiniteError:
            return math.nan
        except AttributeError as error:  # of views and seen inputs there are no features
            raise KeyError(f"{name} needs what was not recorded: {error}") from None

    def _subject(self, need: str, view: str, reading: int) -> Capture | Logits:
        if need == "head":
            return self.head(reading)
        if need == "before":
            return Logits(self.at("logits", reading % READINGS - 1))
        return Logits(self.at(f"logits.{view}" if need == "view" else f"logits.{need}", reading))


@lru_cache(maxsize=16)  # all readings of a candidate are in one array
def _array(path: Path, key: str) -> np.ndarray[Any, Any]:
    with np.load(path) as arrays:
        if key not in arrays:
            raise KeyError(f"{key} was not recorded")
        return arrays[key]


@lru_cache(maxsize=2)  # readouts of one candidate share its predictions
def _head(path: Path, reading: int) -> Capture:
    recording = Recording(path, 0, math.nan)
    return Capture(
        features=recording.at("features", reading),
        logits=recording.at("logits", reading),
        weight=recording.at("weight", reading),
        bias=recording.at("bias", reading),
    )


def _losses(recording: Recording, reading: int) -> list[float]:
    """The losses of all steps before a reading."""
    steps = int(recording.array("step")[reading])
    return list(map(float, recording.array("loss")[:steps]))


def _late_loss(recording: Recording, reading: int) -> float:
    losses = _losses(recording, reading)
    return tse_e(losses, max(1, round(LATE * len(losses))))


def _recorded(key: str) -> Callable[[Recording, int], float]:
    return lambda recording, reading: recording.at(key, reading).item()


# Name -> what it is of a recording and a reading, and whether higher is better.
BASELINES: dict[str, tuple[Callable[[Recording, int], float], bool]] = {
    "parameters": (lambda recording, _: float(recording.array("parameters")), True),
    "tse": (lambda recording, reading: tse(_losses(recording, reading)), False),
    "tse_e": (_late_loss, False),
    "validation_accuracy": (_recorded("validation_accuracy"), True),
    "validation_accuracy_batch": (_recorded("validation_accuracy_batch"), True),
}


def higher_is_better(name: str) -> bool:
    """Which way is good for a number of `Recording.value`."""
    if name in BASELINES:
        return BASELINES[name][1]
    return get_readout(name.partition("@")[0]).higher_is_better


@dataclass(frozen=True)
class Recordings:
    """The recorded candidates of a space, and how many more there are.

    Args:
        space: its name.
        found: those that are recorded and whose truth is known.
        missing: the number of all others that were to be recorded.
        untrained: what `proxies` measured, by candidate.
    """

    space: str
    found: Sequence[Recording]
    missing: int
    untrained: Mapping[str, Row] = field(default_factory=dict)

    @property
    def truth(self) -> Floats:
        """Accuracies in percent, shape (candidates,)."""
        return np.array([one.truth for one in self.found], float)

    def untrained_scores(self, name: str) -> Floats:
        """A peer's proxy at initialisation, higher is better, shape (candidates,); NaN if undefined.

        Raises:
            KeyError: proxies were not measured, or there is none of that name.
        """
        if not self.untrained:
            raise KeyError(f"{name} was not measured by `proxies`")
        baseline, rows = (
            AT_INITIALISATION[name],
            [self.untrained.get(o.name, {}) for o in self.found],
        )
        if baseline.aggregate is None:
            values = column(rows, f"untrained.{name}")
            return values if baseline.higher_is_better else -values
        parts = {part: column(rows, f"untrained.{name}.{part}") for part in baseline.parts}
        each = [{part: parts[part][row] for part in parts} for row in range(len(rows))]
        return np.array(baseline.aggregate(each), float)

    def values(self, names: Sequence[str], reading: int = -1) -> dict[str, Floats]:
        """Values of all candidates by name, each of shape (candidates,), as they are published."""
        rows = [[one.value(name, reading) for name in names] for one in self.found]
        columns = np.array(rows, float).reshape(len(self.found), len(names)).T
        return dict(zip(names, columns, strict=True))


def load(
    space: str, recordings: Path, truths: Path, *, report: bool = False, seed: int = 0
) -> Recordings:
    """The recorded candidates of a space for which the truth is known.

    Args:
        space: a key of `SPACES`.
        recordings: the folder that `record` and `truth` write.
        truths: the folder of the published tables.
        report: those that are reported on instead of those for tuning.
        seed: of the brief training.
    """
    planned = range(len(SPACES[space].candidates(truths)))[SPACES[space].chosen(report)]
    folder = recordings / space / f"seed-{seed}"
    known = known_truths(space, recordings, truths)
    found = []
    for number in planned:
        for suffix in (RECORDED, FAILED):
            path = folder / f"{number:04d}{suffix}"
            if path.exists():
                one = Recording(path, number, math.nan)
                if one.name in known:
                    found.append(Recording(path, number, known[one.name]))
    proxies = recordings / space / UNTRAINED
    untrained = {row["run"]: row for row in read(proxies)} if proxies.exists() else {}
    return Recordings(space, found, len(planned) - len(found), untrained)


def known_truths(space: str, recordings: Path, truths: Path) -> dict[str, float]:
    """Accuracies in percent by candidate: our own, published, or those of committed results."""
    if SPACES[space].truth_steps:
        curves = (
            json.loads(path.read_text())
            for path in sorted((recordings / "truth" / space).glob("*.json"))
        )
        return {c["name"]: c["accuracy"][-1] for c in curves if "failure" not in c}
    if (truths / space).is_dir():
        rows = enumerate(published_rows(truths, space))
        return {
            f"{number:04d}": float(row.get("accuracy") or row["test_accuracy"])
            for number, row in rows
        }
    committed = read(RESULTS / f"{space}.csv")
    return {row["run"]: row["test_accuracy"] for row in committed if "test_accuracy" in row}
