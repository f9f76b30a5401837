"""Readings over steps, which every decision looks at."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

from prescreen.checks import require_at_least
from prescreen.equality import NanEqual
from prescreen.frames import frame, html_table, with_values, write_parquet
from prescreen.text import plain_table


@dataclass(frozen=True, eq=False)
class Reading(NanEqual):
    """The values read from one candidate at one step.

    Args:
        step: optimizer steps taken so far.
        values: readout name to value; NaN where a readout is undefined.
        seconds: wall seconds spent on the candidate so far, building and reading included.
        training_loss: mean loss of the steps since the previous reading.
        parameters: the candidate's trainable parameters.
        architecture: a digest of the structure of the network that was measured untrained; empty if
            none was.
        overhead: those of the seconds that reading took before this reading was stored: untrained
            measures, readings, writing them and deciding on them.
        replicates: readouts of the head on the probe batch without each of its parts, where asked for.
        predictions: those of the probe batch, packed, where other candidates are compared with them.
        execution: how the candidate was trained on its device, ``"channels_last"`` or ``"plain"``;
            empty if it is not known.
    """

    step: int
    values: Mapping[str, float]
    seconds: float = math.nan
    training_loss: float = math.nan
    parameters: int = 0
    architecture: str = ""
    overhead: float = math.nan
    replicates: Mapping[str, tuple[float, ...]] = field(default_factory=dict, repr=False)
    predictions: str = field(default="", repr=False)
    execution: str = field(default="", repr=False)

    def __repr__(self) -> str:
        """What is known; fields without a value are left out."""
        parts = {"step": self.step, "values": dict(self.values), "seconds": self.seconds}
        parts |= {"training_loss": self.training_loss, "parameters": self.parameters}
        parts |= {"architecture": self.architecture, "overhead": self.overhead}
        known = {
            name: value
            for name, value in parts.items()
            if name in ("step", "values")
            or (value and value == value)  # NaN is not equal to itself
        }
        return f"Reading({', '.join(f'{name}={value!r}' for name, value in known.items())})"

    def to_pandas(self) -> Any:
        """A pandas table of one row: see ``Trajectory.to_pandas``.

        Raises:
            ImportError: pandas is missing.
        """
        return Trajectory([self]).to_pandas()

    def to_parquet(self, path: str | PathLike[str]) -> None:
        """Write the table into a Parquet file.

        Raises:
            ImportError: pandas or pyarrow is missing.
            OSError: the file cannot be written.
        """
        write_parquet(self.to_pandas(), path)

    def _repr_html_(self) -> str:
        return Trajectory([self])._repr_html_()

    def to_json(self) -> dict[str, Any]:
        """A dict for strict JSON, which has no NaN or infinities: these become strings."""
        optional = {
            "architecture": self.architecture,
            "replicates": {name: [*map(_plain, own)] for name, own in self.replicates.items()},
            "predictions": self.predictions,
            "execution": self.execution,
        }
        return {
            "step": self.step,
            "values": {name: _plain(value) for name, value in self.values.items()},
            "seconds": _plain(self.seconds),
            "training_loss": _plain(self.training_loss),
            "parameters": self.parameters,
            **({} if math.isnan(self.overhead) else {"overhead": self.overhead}),
            **{name: value for name, value in optional.items() if value},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Reading:
        """The reading that ``to_json`` wrote, bit for bit.

        Raises:
            KeyError, TypeError, ValueError: ``data`` is not a reading.
        """
        return cls(
            step=int(data["step"]),
            values={str(name): float(value) for name, value in data["values"].items()},
            seconds=float(data["seconds"]),
            training_loss=float(data["training_loss"]),
            parameters=int(data["parameters"]),
            architecture=str(data.get("architecture", "")),
            overhead=float(data.get("overhead", math.nan)),
            replicates={
                str(name): tuple(map(float, own))
                for name, own in data.get("replicates", {}).items()
            },
            predictions=str(data.get("predictions", "")),
            execution=str(data.get("execution", "")),
        )


@dataclass
class Trajectory:
    """The readings of one candidate, in the order of their steps."""

    readings: list[Reading] = field(default_factory=list)

    def __str__(self) -> str:
        return plain_table(*self._cells()) if self.readings else "no readings"

    def _repr_html_(self) -> str:
        return html_table(*self._cells(), left=0)

    def to_pandas(self) -> Any:
        """A pandas table: a row for each reading, a column for each readout and for what else is known.

        Columns are ``step``, ``seconds``, ``training_loss``, ``parameters``, ``overhead`` and
        ``architecture``, then the readouts. A cell without a value is NaN.

        Raises:
            ImportError: pandas is missing.
        """
        names = ("step", "seconds", "training_loss", "parameters", "overhead", "architecture")
        fixed = {name: [getattr(one, name) for one in self.readings] for name in names}
        return frame(with_values(fixed, [one.values for one in self.readings]))

    def to_parquet(self, path: str | PathLike[str]) -> None:
        """Write the table into a Parquet file.

        Raises:
            ImportError: pandas or pyarrow is missing.
            OSError: the file cannot be written.
        """
        write_parquet(self.to_pandas(), path)

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """A table for people: steps, readouts, and the loss if there is any."""
        names = [*dict.fromkeys(name for one in self.readings for name in one.values)]
        loss = any(not math.isnan(one.training_loss) for one in self.readings)
        rows = [
            [str(one.step), *(f"{one.values.get(name, math.nan):.4g}" for name in names)]
            + [f"{one.training_loss:.3f}"] * loss
            for one in self.readings
        ]
        return ["step", *names, *["loss"] * loss], rows

    def append(self, reading: Reading) -> None:
        """Add a reading.

        Raises:
            ValueError: its step is not later than the last one.
        """
        if self.readings and reading.step <= self.readings[-1].step:
            raise ValueError(
                f"`reading` must be of a step after {self.readings[-1].step}, got {reading.step}"
            )
        self.readings.append(reading)

    def __len__(self) -> int:
        return len(self.readings)

    def __iter__(self) -> Iterator[Reading]:
        return iter(self.readings)

    @property
    def last(self) -> Reading:
        """The latest reading.

        Raises:
            IndexError: nothing has been read yet.
        """
        return self.readings[-1]

    def series(self, name: str) -> tuple[list[int], list[float]]:
        """Steps and values of one readout; NaN for readings without it."""
        values = [reading.values.get(name, math.nan) for reading in self.readings]
        return [reading.step for reading in self.readings], values

    def smoothed(self, name: str, window: int = 1) -> float:
        """Mean of a readout's last ``window`` values; NaN if any of them is, or if there are none."""
        require_at_least("window", window, 1)
        values = self.series(name)[1][-window:]
        return math.fsum(values) / len(values) if values else math.nan


def _plain(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)
