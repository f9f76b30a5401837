"""Steps: what a step of the optimizer leaves to be looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class TrainingStep:
    """One optimizer step.

    Args:
        number: counted from 1.
        measured: the loss of the step's batch: a number, or on an accelerator a tensor, for which
            ``loss`` and ``diverged`` wait. ``losses_of`` gives those of several steps at once.
        share: of the budget that is spent; at least 1 at the last step.
    """

    number: int
    measured: float | Tensor
    share: float

    @cached_property
    def loss(self) -> float:
        """Of the step's batch; training ends if it is not finite."""
        return float(self.measured)

    @property
    def diverged(self) -> bool:
        """Whether the loss became NaN or infinite."""
        return not math.isfinite(self.loss)


def losses_of(steps: Sequence[TrainingStep]) -> list[float]:
    """The losses of some steps, of which those on an accelerator are fetched together."""
    waiting = [one.measured for one in steps if isinstance(one.measured, Tensor)]
    fetched = iter(torch.stack(waiting).tolist() if waiting else ())
    return [next(fetched) if isinstance(one.measured, Tensor) else one.measured for one in steps]
