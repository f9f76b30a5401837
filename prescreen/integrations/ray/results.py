"""Results: readings in the results that a trial reports to Tune.

::

    {"step": 100, "prescreen": {"confidence": 0.31, "isotropy": 2.3, "score": 0.31, …}}

Stoppers see results like this. Schedulers and searchers see them flattened, with
``prescreen/confidence`` as the key of a readout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from prescreen.panel import Panel
from prescreen.reading import Reading
from prescreen.readouts import Readout

PREFIX = "prescreen"
STEP = "step"
SCORE = "score"
STOPPED = "stopped"
FAILURE = "failure"
REASON = "reason"

ARCHITECTURE = "architecture"
OVERHEAD = "overhead"

_OURS = (SCORE, STOPPED, FAILURE, REASON, ARCHITECTURE, OVERHEAD)


def as_result(reading: Reading, readouts: Mapping[str, Readout], *, first: bool) -> dict[str, Any]:
    """The result that a trial reports for a reading.

    Args:
        reading: its architecture and overhead are reported if known.
        readouts: the values to report; the first of them is the score.
        first: whether it is the trial's first reading.
    """
    values = {name: float(reading.values[name]) for name in readouts}
    panel = Panel.of(readouts)
    oriented = panel.oriented(values)
    # ASHA compares with "<", which is false for NaN: it would never stop a network that diverged, and
    # does not stop one for which the readout is not defined.
    failed = math.isnan(oriented[0]) and panel.failed(oriented, reading.step, first=first)
    score = -math.inf if failed else oriented[0]
    architecture = {ARCHITECTURE: reading.architecture} if reading.architecture else {}
    overhead = {} if math.isnan(reading.overhead) else {OVERHEAD: reading.overhead}
    return {STEP: int(reading.step), PREFIX: {**values, SCORE: score, **architecture, **overhead}}


def not_due(step: int, score: float) -> dict[str, Any]:
    """The result of a step at which no reading is due.

    Tune ends an experiment over a result without the metric, which may be the score: it stays.
    """
    return {STEP: int(step), PREFIX: {SCORE: score}}


def require_free_names(readouts: Mapping[str, Readout]) -> None:
    """Refuse readouts with names that have another meaning in a result.

    Raises:
        ValueError: a readout has such a name.
    """
    if taken := [name for name in readouts if name in _OURS]:
        raise ValueError(
            f"`readouts` must have names other than {', '.join(_OURS)}, got {', '.join(taken)}"
        )


def reading_in(result: Mapping[str, Any], time_attr: str = STEP) -> Reading | None:
    """The reading of a result, flattened or not; None if it has none."""
    nested = _nested(result)
    values = {name: float(value) for name, value in nested.items() if name not in _OURS}
    if not values or time_attr not in result:
        return None
    architecture, overhead = (
        str(nested.get(ARCHITECTURE, "")),
        float(nested.get(OVERHEAD, math.nan)),
    )
    step = int(result[time_attr])
    return Reading(step, values, architecture=architecture, overhead=overhead)


def was_due(result: Mapping[str, Any]) -> bool:
    """Whether a result should have a reading: not if `not_due` made it."""
    return {*_nested(result)} != {SCORE}


def _nested(result: Mapping[str, Any]) -> Mapping[str, Any]:
    begin = f"{PREFIX}/"
    return result.get(PREFIX) or {
        key.removeprefix(begin): value for key, value in result.items() if key.startswith(begin)
    }
