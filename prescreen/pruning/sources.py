"""Sources: what speaks of each of several trials at a step, for a regression to weigh."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from prescreen.comparison import compare
from prescreen.panel import Panel
from prescreen.ranks import Floats

SCORE = "the score"


def sources(
    panel: Panel, readings: Floats, architectures: Sequence[str], step: int
) -> dict[str, Floats]:
    """The scores of trials in `rank`, and each readout of their trained heads alone.

    Scores weigh readouts without knowing how trials end. Where the trained head is the better guide, as
    in a search over learning rates of unlike networks, completed trials show it.

    Args:
        panel: the readouts.
        readings: of the trials, oriented, without NaN, shape (trials, readouts).
        architectures: of the trials; an empty string is unknown.
        step: of the readings. Before training no head says anything.

    Returns:
        Source to values, higher is better, each of shape (trials,).
    """
    flags = np.array(panel.of_network or (False,) * len(panel))
    used = flags if step == 0 and flags.any() else np.ones(len(panel), dtype=bool)
    scores = compare(readings[:, used], flags[used].tolist(), architectures).scores
    heads = zip(panel.names, readings.T, flags, strict=True)
    return {SCORE: scores} | {name: one for name, one, fixed in heads if step and not fixed}
