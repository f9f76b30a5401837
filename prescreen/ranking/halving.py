"""Halving: which candidates of a ranking go on at a rung, and which end there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prescreen.checks import require_at_least, require_kind

# A third of the steps of a ranking of all, at readings that it has as well. Chosen on tuning
# candidates of several spaces (docs/speed.md).
_RUNGS = {1 / 4: 3 / 16, 1 / 2: 1 / 16}
READINGS = 4  # without halving
_MOST = 64
_SMALL = 1e-9


@dataclass(frozen=True)
class Halving:
    """Successive halving: all candidates are trained a little, and the better ones go on.

    At every rung those that got there are compared by the readouts, all at the same step. Trainings go
    on from where they were, with the learning rates of the whole budget: what reaches the end has the
    same readings as without halving.

    Args:
        rungs: for shares of the budget, the share of all candidates that goes on from there.
        least: how many go on, at least.

    Raises:
        ValueError: a share is not between 0 and 1, or later rungs do not let fewer candidates go on.

    Reference: Jamieson & Talwalkar 2016, arXiv 1502.07943.
    """

    rungs: Mapping[float, float] = field(default_factory=lambda: dict(_RUNGS))
    least: int = 1

    def __post_init__(self) -> None:
        require_kind("rungs", self.rungs, Mapping)
        pairs = [*self.rungs.items()]
        falls = pairs == sorted(pairs, key=lambda one: (one[0], -one[1]))
        falls = falls and [*self.rungs.values()] == sorted(self.rungs.values(), reverse=True)
        if not pairs or not falls or not all(0 < one < 1 for pair in pairs for one in pair):
            raise ValueError(
                "`rungs` must map rising shares of the budget to falling shares of the candidates, got "
                f"{dict(self.rungs)}"
            )
        require_at_least("least", self.least, 1)

    @property
    def readings(self) -> int:
        """The fewest readings, a multiple of those without halving, that are at all rungs."""
        numbers = range(READINGS, _MOST + 1, READINGS)
        return next((n for n in numbers if self._fits(n)), _MOST)

    def at(self, readings: int) -> dict[int, float]:
        """The rungs by the number of their reading.

        Raises:
            ValueError: a rung is between two readings.
        """
        if not self._fits(readings):
            shares = ", ".join(f"{share:g}" for share in self.rungs)
            raise ValueError(
                f"`readings` must be at the rungs of halving ({shares} of the budget), got {readings}"
            )
        return {round(share * readings): kept for share, kept in self.rungs.items()}

    def going_on(self, kept: float, candidates: int) -> int:
        """How many of so many candidates go on, for the share of a rung."""
        return max(self.least, math.ceil(kept * candidates - _SMALL))

    def to_json(self) -> dict[str, Any]:
        """The rungs for people, as JSON values."""
        return {"rungs": [[*pair] for pair in self.rungs.items()], "least": self.least}

    def _fits(self, readings: int) -> bool:
        numbers = [share * readings for share in self.rungs]
        return all(abs(one - round(one)) < _SMALL and round(one) >= 1 for one in numbers)


def as_halving(given: bool | Halving) -> Halving | None:
    """What ``rank(halving=)`` means; None for no halving.

    Raises:
        ValueError: it is something else.
    """
    if isinstance(given, bool):
        return Halving() if given else None
    require_kind("halving", given, Halving)
    return given
