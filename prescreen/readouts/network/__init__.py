"""Network: measures of a whole network before its first training step, without labels.

An untrained head says nothing yet, but the whole network does: how much flows through it, how much it
computes, and whether its features differ. Each measure costs about one reading.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from torch import nn
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

from prescreen.readouts.network.features import isotropy
from prescreen.readouts.network.flow import synflow
from prescreen.readouts.network.operations import flops
from prescreen.readouts.network.structure import structure
from prescreen.readouts.readout import Readout

__all__ = ["MEASURES", "Network", "flops", "isotropy", "measured", "structure", "synflow"]


class Network(NamedTuple):
    """An untrained network and the inputs of its measures.

    Attributes:
        model: before its first training step.
        inputs: unlabelled inputs, as the model takes them.
        head: dotted name of the prediction head, if it is not found.
    """

    model: nn.Module
    inputs: Any
    head: str | None = None


def measured(network: Network, *, function: Callable[[nn.Module, Any, str | None], float]) -> float:
    """A measure of a network; NaN if it is not defined for that network. The model stays as it was.

    What refuses a network is a ValueError. Any other error is one of the measure, and is raised.
    """
    try:
        return function(*network)
    except (ValueError, LinAlgError):
        return math.nan


def _of_network(function: Callable[[nn.Module, Any, str | None], float], source: str) -> Readout:
    return Readout(partial(measured, function=function), ("network",), reference=source)


MEASURES: dict[str, Readout] = {
    "isotropy": _of_network(isotropy, "after 2403.19232"),
    "synflow": _of_network(synflow, "2006.05467, 2101.08134"),
    "flops": _of_network(flops, "count"),
}
