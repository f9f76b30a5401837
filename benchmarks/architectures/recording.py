"""A recording read again: captures and numbers of one candidate, without training.

``Recording.head(reading)`` is a `Capture`, ``Recording.value("agreement@mirror")`` a number. Recordings
are in half precision.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.architectures.record import FAILED
from benchmarks.baselines.curves import tse, tse_e
from prescreen.captured import Capture, NonFiniteError
from prescreen.extrapolation import extrapolated
from prescreen.predictions import Logits
from prescreen.readouts import get_readout
from prescreen.readouts.table import AHEAD

QUARTERS = 4

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
        """Why it failed, also as `screen` would have told at the end; empty if it did not."""
        if self.path.suffix == FAILED:
            return self.path.read_text().splitlines()[1]
        return "collapsed: one class" if len(self.at("logits").argmax(1).unique()) == 1 else ""

    @cached_property
    def name(self) -> str:
        """The candidate's."""
        if self.path.suffix == FAILED:
            return self.path.read_text().splitlines()[0]
        return str(self.array("name"))

    @property
    def readings(self) -> int:
        """How many there are, a multiple of `QUARTERS`."""
        return len(self.array("step"))

    def quarter(self, number: int) -> int:
        """The reading at the end of a quarter of the training, from 1 to 4."""
        return number * self.readings // QUARTERS - 1

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
        number = reading % self.readings + 1
        place, rest = divmod(number, self.readings // len(kept))
        if rest:
            raise KeyError(f"{key} was not recorded at reading {number}")
        return torch.from_numpy(np.asarray(kept[place - 1], np.float32))

    def head(self, reading: int = -1) -> Capture:
        """The head on the probe batch.

        Raises:
            NonFiniteError: a value was beyond half precision.
        """
        return _head(self.path, reading % self.readings)

    @cached_property
    def architecture(self) -> str:
        """The structure of the network that was measured untrained.

        Raises:
            KeyError: it was not recorded; see `architectures`.
        """
        return str(self.array("architecture"))

    def value(self, name: str, reading: int = -1) -> float:
        """One number of the candidate; NaN if it failed or if the number is undefined for it.

        Args:
            name: one of `BASELINES`, or a readout. The view of a readout that needs one is shifted;
                ``agreement@mirror`` takes another one of those that were recorded. The reading before
                is a quarter of the training earlier, as `rank` reads by default.
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
        if readout.of_before and self._before(reading) < 0:
            return math.nan
        if readout.ahead:
            last, steps = reading % self.readings, self.array("step")
            quarters = {self.quarter(number) for number in range(1, QUARTERS + 1)}
            plain = name.removeprefix(AHEAD)
            at = sorted({at for at in quarters if at < last} | {last})
            return extrapolated([(int(steps[one]), self.value(plain, one)) for one in at])
        view = name.partition("@")[2] or "shift"
        try:
            return readout(*(self._subject(need, view, reading) for need in readout.needs))
        except NonFiniteError:
            return math.nan
        except AttributeError as error:  # of views and seen inputs there are no features
            raise KeyError(f"{name} needs what was not recorded: {error}") from None

    def _before(self, reading: int) -> int:
        return reading % self.readings - self.readings // QUARTERS

    def _subject(self, need: str, view: str, reading: int) -> Capture | Logits:
        if need == "head":
            return self.head(reading)
        if need == "before":
            return Logits(self.at("logits", self._before(reading)))
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
