"""Extrapolation: where a value that grows with training will be after as much training again."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def extrapolated(curve: Sequence[tuple[int, float]]) -> float:
    """The value expected at twice the steps of the last reading: v(t) + (v(t) − v(t/2)).

    What training has reached rewards those that learn fast; what it still gains tells who will end
    well. The curve is taken to go on as a line in log t, as far again as from half of the steps on. The
    value at half of the steps is interpolated between readings, in log t as well.

    Args:
        curve: steps and values, by rising step.

    Returns:
        The last value itself if no reading, of at least one step, is as early as half of its steps.

    Raises:
        IndexError: there is no reading.
    """
    step, value = curve[-1]
    known = [(at, one) for at, one in curve if at >= 1 and math.isfinite(one)]
    if not known or known[-1][0] != step or known[0][0] > step / 2:
        return value
    steps, values = zip(*known, strict=True)
    return 2 * value - float(np.interp(math.log(step / 2), np.log(steps), values))
