"""Untrained: what a network as a whole says before its first training step, without labels.

Its head says nothing yet, but the network as a whole says things that its head never will: how much
flows through it and is computed, and whether its features differ. Each costs about one reading.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from prescreen.readouts.network.features import isotropy
from prescreen.readouts.network.flow import synflow
from prescreen.readouts.network.operations import flops

__all__ = ["UNTRAINED", "Untrained", "flops", "isotropy", "synflow"]


@dataclass(frozen=True)
class Untrained:
    """A number read once, from a network that has not been trained.

    Args:
        function: of the network, the probe's inputs and the head's name, if that is needed.
        higher_is_better: which way is good.
        reference: where it was published.
    """

    function: Callable[[nn.Module, Any, str | None], float]
    higher_is_better: bool = True
    reference: str = ""

    @property
    def of_network(self) -> bool:
        """Whether it is a measure of the untrained network."""
        return True

    def __call__(self, model: nn.Module, inputs: Any, head: str | None = None) -> float:
        """The value; NaN where it is not defined or the model's code does not allow it.

        The model stays as it was.
        """
        try:
            return self.function(model, inputs, head)
        except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError):
            return math.nan

    def score(self, value: float) -> float:
        """``value`` oriented so that higher is better."""
        return value if self.higher_is_better else -value


UNTRAINED = {
    "isotropy": Untrained(isotropy, reference="after 2403.19232"),
    "synflow": Untrained(synflow, reference="2006.05467, 2101.08134"),
    "flops": Untrained(flops, reference="count"),
}
