"""Stopping: when training no longer helps, from the readings of one run."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping
from typing import Any

import numpy as np

from prescreen.checkpoints.readings import plain_reading
from prescreen.checks import require, require_at_least, require_number
from prescreen.panel import CHECKPOINT_PANEL, Panel
from prescreen.reading import Reading
from prescreen.readouts import Readout, to_compare
from prescreen.text import showing

# The highest of many readings of pure noise is rarely this many usual changes above the first.
_RISE = 3


class EarlyStopping:
    """Says when a readout of one run has stopped improving, without labels.

    Patience is counted on a running mean and grows with training: the later the plateaus and second
    descents of readouts, the longer they last. Nothing is decided before the readout is valid. It is
    valid when it has risen above its first value by three times its usual change between readings.

    Args:
        readout: one name, or a mapping from a name of your own to one ``Readout``; see ``Monitor``.
        patience: least number of readings without improvement after which training stops.
        min_delta: smallest improvement that counts, in the readout's units.
        n_warmup_steps: training does not stop before this step.
        patience_share: patience is at least this share of the readings up to the best one.
        smoothing: how many of the latest readings are averaged.
        check_finite: stop at once if the readout is NaN or infinite; else skip such readings. The first
            reading is always skipped if it is not finite, since it may need one before it.

    Raises:
        ValueError: an argument is out of its range, or there is no such readout.
    """

    __repr__ = showing(readout="panel.names", patience="patience", reason="reason")

    def __init__(
        self,
        readout: str | Mapping[str, Readout] = CHECKPOINT_PANEL[0],
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        n_warmup_steps: int = 0,
        patience_share: float = 0.25,
        smoothing: int = 3,
        check_finite: bool = True,
    ) -> None:
        require_at_least("patience", patience, 1)
        require_at_least("n_warmup_steps", n_warmup_steps, 0)
        require_at_least("smoothing", smoothing, 1)
        require_number("min_delta", min_delta, 0)
        require_number("patience_share", patience_share, 0)
        readouts = to_compare([readout] if isinstance(readout, str) else readout)
        require("readout", "one readout", len(readouts), len(readouts) == 1)
        self.panel = Panel.of(readouts)
        self.patience = patience
        self.min_delta = min_delta
        self.n_warmup_steps = n_warmup_steps
        self.patience_share = patience_share
        self.smoothing = smoothing
        self.check_finite = check_finite
        self._steps: list[int] = []
        self._values: list[float] = []
        self._smoothed: list[float] = []  # their running means
        self._first: int | None = None  # steps of the first and latest reading, finite or not
        self._latest: int | None = None
        self.reason = ""

    def update(self, reading: Reading) -> bool:
        """Take a reading; if training has returned to an earlier step, drop later readings.

        A rule follows one training. If the step goes back to the first one or before, it starts afresh.

        Returns:
            Whether training should stop; ``reason`` says why.

        Raises:
            ValueError: the reading lacks the readout.
        """
        name = self.panel.names[0]
        reading = plain_reading(reading, self.panel.names)
        (value,) = self.panel.oriented(reading.values)
        # The first reading, and one after a return, may need an earlier one that is not known.
        lone = self._first is None or self._latest is None or reading.step < self._latest
        if self._first is None or reading.step <= self._first:
            lone, self._first = True, reading.step
        self._latest = reading.step
        kept = bisect_left(self._steps, reading.step)
        del self._steps[kept:], self._values[kept:], self._smoothed[kept:]
        if not math.isfinite(value):
            stops = self.check_finite and not lone
            self.reason = f"{name} is {value} at step {reading.step}" if stops else ""
            return stops
        self._steps.append(reading.step)
        self._values.append(value)
        self._smooth()
        self.reason = self._reason(name)
        return bool(self.reason)

    @property
    def best_step(self) -> int | None:
        """The step of the latest improvement; None before the first reading."""
        return self._steps[self._best()] if self._steps else None

    def reset(self) -> None:
        """Forget earlier readings, because another training begins."""
        self.load_state_dict({"steps": [], "values": []})
        self.reason = ""

    def state_dict(self) -> dict[str, Any]:
        """The state for ``load_state_dict``, as strict JSON."""
        return {
            "steps": list(self._steps),
            "values": list(self._values),
            "first": self._first,
            "latest": self._latest,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state. Save the monitor's as well: the next reading may need it."""
        self._steps = [int(step) for step in state["steps"]]
        self._values = [float(value) for value in state["values"]]
        self._smoothed = []
        self._smooth()
        self._first = state.get("first", self._steps[0] if self._steps else None)
        self._latest = state.get("latest", self._steps[-1] if self._steps else None)

    def _reason(self, name: str) -> str:
        """Why training should stop; empty while it should not."""
        best = self._best()
        waited = len(self._smoothed) - 1 - best
        if self._steps[-1] < self.n_warmup_steps or not self._is_valid(max(self._smoothed)):
            return ""
        if waited < max(self.patience, self.patience_share * (best + 1)):
            return ""
        return f"{name} has not improved in {waited} readings, since step {self._steps[best]}"

    def _smooth(self) -> None:
        """Add the running means that are lacking."""
        for i in range(len(self._smoothed), len(self._values)):
            part = self._values[max(0, i - self.smoothing + 1) : i + 1]
            self._smoothed.append(math.fsum(part) / len(part))

    def _best(self) -> int:
        """Index of the latest improvement of the running mean."""
        best = 0
        for i, value in enumerate(self._smoothed):
            if value > self._smoothed[best] + self.min_delta:
                best = i
        return best

    def _is_valid(self, highest: float) -> bool:
        if len(self._values) <= self.smoothing:
            return False
        usual = float(np.median(np.abs(np.diff(self._values))))
        return highest - self._values[0] > _RISE * usual
