"""Committee: readouts that compare each candidate with the others, when all have been read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from prescreen.reading import Reading
from prescreen.readouts import Readout
from prescreen.readouts.committee import committees
from prescreen.readouts.parts import PARTS, part_of_rows


def beside_others(
    run: Sequence[Reading], readouts: Mapping[str, Readout], samples: int
) -> list[Reading]:
    """The last readings of candidates that did not fail, with the readouts that need the others.

    Args:
        run: one reading a candidate, all of one seed.
        readouts: the panel.
        samples: how many the probe batch has; 0 if that is not known.
    """
    needing = {name: one for name, one in readouts.items() if "others" in one.needs}
    readings = list(run)
    beside = committees([one.predictions for one in run]) if needing else []
    for at, committee in enumerate(beside):
        reading = readings[at]
        values, replicates = dict(reading.values), dict(reading.replicates)
        for name, readout in needing.items():
            values[name] = math.nan if committee is None else readout(committee)
            if committee is not None:
                replicates[name] = _replicates(readout.per_sample(committee), samples)
        readings[at] = replace(reading, values=values, replicates=replicates)
    return readings


def _replicates(values: Tensor, samples: int) -> tuple[float, ...]:
    parts = part_of_rows(len(values), samples or len(values))
    return tuple(values[parts != part].mean().item() for part in range(PARTS))
