"""Twins: copies of trials that show scores of readings where Optuna keeps reported values."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from optuna.trial import FrozenTrial

from prescreen.pruning import Panel

Readings = Mapping[int, tuple[float, ...]]

# What SuccessiveHalvingPruner keeps in a trial's system attributes (Optuna 5.0): the value with
# which the trial completed a rung.
RUNG = "completed_rung_"


class Ranking(Protocol):
    """What gives a reading its score among the readings of other trials."""

    def at_step(self, number: int, readings: Readings, step: int) -> float:
        """The score of one reading."""

    def at_all_steps(self, number: int, readings: Readings) -> dict[int, float]:
        """The scores of all readings of a trial."""


class Twins:
    """Makes twins: real ids, numbers, states and values, but scores as intermediate values.

    One readout is its own score. Several are ranked, by what ``ranking`` is when a twin is looked
    at: making 1,000 twins anew for each decision would take longer than the decision.

    Args:
        panel: the readouts in a reading.
    """

    def __init__(self, panel: Panel) -> None:
        self.panel = panel
        self.ranking: Ranking
        self._rung_prefix = f"{zlib.crc32(','.join(panel.names).encode()):08x}"

    def twin(
        self, trial: FrozenTrial, readings: Readings, before: int | None = None
    ) -> FrozenTrial:
        """A trial's twin; with ``before``, as the trial was when it was read at that step."""
        if before is not None:
            readings = {step: values for step, values in readings.items() if step <= before}
        scores: Mapping[int, float]
        if len(self.panel) == 1:
            scores = {step: self.panel.published(values) for step, values in readings.items()}
        else:
            scores = _Ranks(self, trial.number, readings)
        # Several times as fast as copy.copy.
        twin = object.__new__(FrozenTrial)
        twin.__dict__.update(trial.__dict__)
        twin.intermediate_values = scores  # type: ignore[assignment]
        twin.system_attrs = _SystemAttributes(self, trial, scores, before)
        return twin

    def rung_key(self, number: int, key: str) -> str:
        """What the storage calls the attribute ``completed_rung_k`` of a trial.

        Ranks change as trials come in, so that the *step* at which a rung was completed is stored,
        and the score looked up when it is compared. The name holds the trial's number, because a
        retried trial inherits its dead attempt's attributes, and the panel, because a stock pruner
        or one with other readouts may keep rungs as well.
        """
        return f"prescreen:{number}:{self._rung_prefix}:{key}"


class _Ranks(Mapping[int, float]):
    """A trial's step-to-score table that ranks only when it is looked at."""

    __slots__ = ("_number", "_readings", "_twins")

    def __init__(self, twins: Twins, number: int, readings: Readings) -> None:
        self._twins = twins
        self._number = number
        self._readings = readings

    def __getitem__(self, step: int) -> float:
        return self._twins.ranking.at_step(self._number, self._readings, step)

    def __contains__(self, step: object) -> bool:
        return step in self._readings

    def __iter__(self) -> Iterator[int]:
        return iter(self._readings)

    def __len__(self) -> int:
        return len(self._readings)

    def items(self) -> Any:
        return self._all_steps().items()

    def values(self) -> Any:
        return self._all_steps().values()

    def _all_steps(self) -> dict[int, float]:
        return self._twins.ranking.at_all_steps(self._number, self._readings)


class _SystemAttributes(Mapping[str, Any]):
    """A trial's system attributes, in which rungs hold scores."""

    __slots__ = ("_before", "_scores", "_trial", "_twins")

    def __init__(
        self, twins: Twins, trial: FrozenTrial, scores: Mapping[int, float], before: int | None
    ) -> None:
        self._twins = twins
        self._trial = trial
        self._scores = scores
        self._before = before

    def __getitem__(self, key: str) -> Any:
        if not key.startswith(RUNG):
            return self._trial.system_attrs[key]
        if (step := self._rung_step(key)) is None:
            raise KeyError(key)
        return self._scores[step]

    def __contains__(self, key: object) -> bool:
        if isinstance(key, str) and key.startswith(RUNG):
            return self._rung_step(key) is not None
        return key in self._trial.system_attrs

    def _rung_step(self, key: str) -> int | None:
        """The step at which a rung was completed; None where that lies ahead."""
        step = self._trial.system_attrs.get(self._twins.rung_key(self._trial.number, key))
        return None if step == self._before or step not in self._scores else step

    def __iter__(self) -> Iterator[str]:
        return iter(self._trial.system_attrs)

    def __len__(self) -> int:
        return len(self._trial.system_attrs)
