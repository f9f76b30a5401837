"""Extrapolation: where a value that grows with training will be after half as much again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

# A longer look ahead gains where training is far from its end, and adds noise where it is near
# (docs/evidence.md).
_FURTHER = 1.5


def extrapolated(curve: Sequence[tuple[int, float]]) -> float:
    """The value expected after half as much training again: v(t) + (v(t) − v(t/2)) log₂ 1.5.

    What training has reached rewards those that learn fast; what it still gains tells who will end
    well. The curve is taken to go on as a line in log t, as it went from half of the steps on. The value
    at half of the steps is interpolated between readings, in log t as well.

    Args:
        curve: steps and values, by rising step.

    Returns:
        The last value itself if no reading, of at least one step, is as early as half of its steps.

    Raises:
        IndexError: the curve is empty.
    """
    step, value = curve[-1]
    known = [(at, one) for at, one in curve if at >= 1 and math.isfinite(one)]
    if not known or known[-1][0] != step or known[0][0] > step / 2:
        return value
    steps, values = zip(*known, strict=True)
    at_half = float(np.interp(math.log(step / 2), np.log(steps), values))
    return value + (value - at_half) * math.log2(_FURTHER)


class Curves:
    """What was read of one network in training, for readouts that look ahead.

    Args:
        names: of these readouts.

    Attributes:
        known: steps and values so far, by name.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.known: dict[str, list[tuple[int, float]]] = {name: [] for name in names}

    def ahead(self, step: int, values: Mapping[str, float]) -> dict[str, float]:
        """Take values read at a step; returns them, extrapolated where a readout looks ahead."""
        found = dict(values)
        for name in self.known.keys() & values.keys():
            earlier = [(at, value) for at, value in self.known[name] if at < step]
            self.known[name] = [*earlier, (step, values[name])]
            found[name] = extrapolated(self.known[name])
        return found
