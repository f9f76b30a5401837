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

from prescreen.readouts.network.features import isotropy, isotropy_and_flops
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
        noted: where a measure that runs the network notes another one of the same forward pass; None
            if no other is wanted.
    """

    model: nn.Module
    inputs: Any
    head: str | None = None
    noted: dict[str, float] | None = None


def measured(network: Network, *, function: Callable[[Network], float]) -> float:
    """A measure of a network; NaN if it is not defined for that network. The model stays as it was.

    What refuses a network is a ValueError. Any other error is one of the measure, and is raised.
    """
    try:
        return function(network)
    except (ValueError, LinAlgError):
        return math.nan


def _isotropy(network: Network) -> float:
    if network.noted is None:
        return isotropy(*network[:3])
    value, counted = isotropy_and_flops(*network[:3])
    network.noted.update({} if counted is None else {"flops": counted})
    return value


def _flops(network: Network) -> float:
    known = network.noted or {}
    return known["flops"] if "flops" in known else flops(*network[:3])


def _synflow(network: Network) -> float:
    return synflow(*network[:3])


def _of_network(function: Callable[[Network], float], source: str) -> Readout:
    return Readout(partial(measured, function=function), ("network",), reference=source)


MEASURES: dict[str, Readout] = {
    "isotropy": _of_network(_isotropy, "after 2403.19232"),
    "synflow": _of_network(_synflow, "2006.05467, 2101.08134"),
    "flops": _of_network(_flops, "count"),
}
