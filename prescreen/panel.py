"""Panel: the readouts that a decision looks at, the direction of each, and the defaults."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

# Wherever architectures are compared. Three unlike measures: how far predictions of the trained head
# will survive a change of the input, and the features and the size of the untrained network. How far
# either kind counts among the candidates at hand is told without labels: see comparison.py. Chosen on
# tuning candidates of several spaces by the worst of them (docs/evidence.md).
DEFAULT_PANEL: tuple[str, ...] = ("ahead/expected_agreement", "isotropy", "flops")

# For one network as it is, without earlier readings.
LONE_PANEL: tuple[str, ...] = ("expected_agreement",)

# For the checkpoints of one run. They share one architecture: only predictions tell them apart.
# Predictions that change with the input or from one checkpoint to the next betray memorised labels,
# which confidence alone would reward (docs/selection.md).
CHECKPOINT_PANEL: tuple[str, ...] = ("stable_information",)

# The same for checkpoints without an earlier one to compare with: few files, or different models.
LONE_CHECKPOINT_PANEL: tuple[str, ...] = ("view_information",)


class Directed(Protocol):
    """What a panel needs to know of a readout."""

    @property
    def higher_is_better(self) -> bool:
        """Which way is good."""

    @property
    def of_network(self) -> bool:
        """Whether it is a measure of the untrained network."""

    @property
    def of_before(self) -> bool:
        """Whether it needs the reading before."""


@dataclass(frozen=True)
class Panel:
    """Names and directions of the readouts that are compared; it holds no functions and pickles.

    Args:
        names: the readouts.
        higher_is_better: for each of them, which way is good.
        of_network: for each of them, whether it is a measure of the untrained network; empty if none
            is. Such a measure only tells architectures apart.
        of_before: for each of them, whether it needs the reading before; empty if none does. It is not
            defined at a first reading.
    """

    names: tuple[str, ...]
    higher_is_better: tuple[bool, ...]
    of_network: tuple[bool, ...] = ()
    of_before: tuple[bool, ...] = ()

    @classmethod
    def of(cls, readouts: Mapping[str, Directed]) -> Panel:
        """The panel of a table of readouts."""
        values = readouts.values()
        return cls(
            tuple(readouts),
            tuple(r.higher_is_better for r in values),
            tuple(r.of_network for r in values),
            tuple(r.of_before for r in values),
        )

    def __len__(self) -> int:
        return len(self.names)

    def lacking(self, values: Mapping[str, object]) -> list[str]:
        """Names of the panel that are missing from a reading's values."""
        return [name for name in self.names if name not in values]

    def oriented(self, values: Mapping[str, float | str]) -> tuple[float, ...]:
        """The panel's values, signs turned so that higher is better; NaN stays NaN.

        Raises:
            KeyError: a readout is missing from ``values``.
        """
        return tuple(
            float(values[name]) if higher else -float(values[name])
            for name, higher in zip(self.names, self.higher_is_better, strict=True)
        )

    def failed(self, oriented: tuple[float, ...], step: int, *, first: bool = False) -> bool:
        """Whether the model failed: NaN in all readouts of the trained network that it could have.

        A single NaN is a readout that is not defined for this model, and an untrained one, at step 0,
        has not failed.

        Args:
            oriented: the panel's values.
            step: at which it was read.
            first: whether it is the model's first reading.
        """
        none = (False,) * len(self)
        trained = [
            value
            for value, untrained, follows in zip(
                oriented, self.of_network or none, self.of_before or none, strict=True
            )
            if not untrained and not (first and follows)
        ]
        return bool(step and trained) and all(map(math.isnan, trained))

    def published(self, oriented: tuple[float, ...]) -> float:
        """The value of a panel of one readout with its own sign again."""
        (value,) = oriented
        return value if self.higher_is_better[0] else -value
