"""Results: how readings stand in what a trial reports to Tune.

::

    {"step": 100, "prescreen": {"sample_gradient": 0.31, "isotropy": 2.3, "score": 0.31}}

Tune shows results to stoppers as they are, and to schedulers and searchers flattened: there the key
of a readout is ``prescreen/sample_gradient``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from prescreen.reading import Reading
from prescreen.readouts import Readout

PREFIX = "prescreen"
STEP = "step"
SCORE = "score"
STOPPED = "stopped"
FAILURE = "failure"

_OURS = (SCORE, STOPPED, FAILURE)


def as_result(
    step: int, values: Mapping[str, float], readouts: Mapping[str, Readout]
) -> dict[str, Any]:
    """What a trial reports of a reading.

    Args:
        step: optimizer steps taken so far.
        values: readout name to value.
        readouts: what was read; the first of them is the score.
    """
    plain = {name: float(value) for name, value in values.items()}
    first, measure = next(iter(readouts.items()))
    value = plain[first] if measure.higher_is_better else -plain[first]
    # ASHA compares with "<", which holds for no NaN: it would never stop a network that diverged.
    score = -math.inf if math.isnan(value) else value
    return {STEP: int(step), PREFIX: {**plain, SCORE: score}}


def require_free_names(readouts: Mapping[str, Readout]) -> None:
    """Refuse names that stand for something else in a result.

    Raises:
        ValueError: a readout has such a name.
    """
    if taken := [name for name in readouts if name in _OURS]:
        raise ValueError(
            f"readouts: names other than {', '.join(_OURS)} are needed, got {', '.join(taken)}"
        )


def reading_in(result: Mapping[str, Any], time_attr: str = STEP) -> Reading | None:
    """The reading of a result, flattened or not; None if it has none."""
    begin = f"{PREFIX}/"
    nested = result.get(PREFIX) or {
        key.removeprefix(begin): value for key, value in result.items() if key.startswith(begin)
    }
    values = {name: float(value) for name, value in nested.items() if name not in _OURS}
    if not values or time_attr not in result:
        return None
    return Reading(int(result[time_attr]), values)
