"""Probing: the probe that reads the candidates of a plan."""

from __future__ import annotations

import math

from torch import Tensor

from prescreen.captured import Capture
from prescreen.probe import Probe
from prescreen.readouts import Readout
from prescreen.screening.plan import Plan
from prescreen.tasks.base import seen_inputs

# Read with the panel; no readout's name has a space.
ONLY_CLASS = "only class"


def _only_class(capture: Capture) -> Tensor:
    """The only class predicted, shape (); NaN if several are."""
    low, high = capture.logits.argmax(1).aminmax()
    return low.to(capture.dtype).masked_fill(low != high, math.nan)


def probe_of(plan: Plan) -> Probe:
    """A probe of the readouts that one model gives, and of whether it predicts one class only."""
    task = plan.task
    apart = {**plan.needing("losses"), **plan.needing("others")}
    table = {name: one for name, one in plan.table.items() if name not in apart}
    # Where other candidates are compared with, the predictions of the model's own head are read.
    if task.link == "softmax" and (getattr(task, "collapses", True) or plan.needing("others")):
        table[ONLY_CLASS] = Readout(_only_class)
    needs = {need for readout in table.values() for need in readout.needs}
    return Probe(
        task.probe,
        table,
        seen=seen_inputs(task) if "seen" in needs else None,
        view=task.views,
        head=plan.head,
        link=task.link,
        parts=getattr(task, "parts", None),
    )
