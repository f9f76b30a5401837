"""Others: measures that no model has alone, of its training or beside other candidates."""

from __future__ import annotations

import math
from collections.abc import Sequence

from prescreen.readouts.committee import committee_agreement
from prescreen.readouts.readout import Readout


def training_loss(losses: Sequence[float]) -> float:
    """The mean loss over the last quarter of the steps so far; it sees the training labels.

    Reference: Ru et al. 2021, arXiv 2006.04492: TSE-E, with a quarter of brief training as its window.
    """
    late = losses[-math.ceil(len(losses) / 4) :]
    return math.fsum(late) / len(late)


# Not in READOUTS, which no label and no second model enters.
OTHERS: dict[str, Readout] = {
    "committee/agreement": Readout(committee_agreement, ("others",)),
    "training_loss": Readout(training_loss, ("losses",), False, "2006.04492"),
}


def of_one_model(readouts: dict[str, Readout]) -> dict[str, Readout]:
    """The readouts, if a model as it is has all of them.

    Raises:
        ValueError: one needs the losses of training, or other candidates.
    """
    for name, readout in readouts.items():
        if "others" in readout.needs:
            where = "only `rank` has other candidates to compare it with"
        elif "losses" in readout.needs:
            where = "`rank` and `screen` measure it; in your own loop, record it as a value"
        else:
            continue
        raise ValueError(f"`readouts` must be of a model as it is, got {name!r}; {where}")
    return readouts
