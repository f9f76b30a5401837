"""Network: what a network as a whole says before its first training step, without labels.

Its head says nothing yet, but the network as a whole says things that its head never will: how much
flows through it and is computed, and whether its features differ. Each costs about one reading.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from prescreen.readouts.network.features import isotropy
from prescreen.readouts.network.flow import synflow
from prescreen.readouts.network.operations import flops
from prescreen.readouts.network.structure import structure
from prescreen.readouts.readout import Readout

__all__ = ["MEASURES", "Network", "flops", "isotropy", "measured", "structure", "synflow"]


class Network(NamedTuple):
    """An untrained network and what it is measured with.

    Args:
        model: before its first training step.
        inputs: unlabelled ones, as the model takes them.
        head: dotted name of the prediction head, where it cannot be found.
    """

    model: nn.Module
    inputs: Any
    head: str | None = None


def measured(network: Network, *, function: Callable[[nn.Module, Any, str | None], float]) -> float:
    """A measure of a network; NaN where it is undefined or the model's code does not allow it.

    The model stays as it was.
    """
    try:
        return function(*network)
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
        return math.nan


def _of_network(function: Callable[[nn.Module, Any, str | None], float], source: str) -> Readout:
    return Readout(partial(measured, function=function), ("network",), reference=source)


MEASURES: dict[str, Readout] = {
    "isotropy": _of_network(isotropy, "after 2403.19232"),
    "synflow": _of_network(synflow, "2006.05467, 2101.08134"),
    "flops": _of_network(flops, "count"),
}
