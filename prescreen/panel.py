"""Panel: which readouts a decision looks at, which way each of them is good, and the two defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

# Wherever architectures are compared. Three unlike measures: the gradient of the trained head, and the
# features and the flow of the untrained network. On NAS-Bench-201 they order cells better than one of
# them, or more of one kind, does (docs/evidence.md).
DEFAULT_PANEL: tuple[str, ...] = ("sample_gradient", "isotropy", "synflow")

# For the checkpoints of one run: one architecture, so that only its predictions tell them apart.
# Whether these survive a change of the input and of the checkpoint shows labels learnt by heart, which
# confidence alone rewards (docs/selection.md).
CHECKPOINT_PANEL: tuple[str, ...] = ("stable_information",)

# The same for checkpoints that have none before them: of few files, or of different models.
LONE_CHECKPOINT_PANEL: tuple[str, ...] = ("view_information",)


class Directed(Protocol):
    """What a panel needs to know of a readout."""

    @property
    def higher_is_better(self) -> bool:
        """Which way is good."""

    @property
    def of_network(self) -> bool:
        """Whether it is a measure of the untrained network."""


@dataclass(frozen=True)
class Panel:
    """Names and directions of the readouts that are compared; it holds no functions and pickles.

    Args:
        names: the readouts.
        higher_is_better: for each of them, which way is good.
        of_network: for each of them, whether it is a measure of the untrained network; empty where
            none is. Such a measure tells architectures apart and nothing else.
    """

    names: tuple[str, ...]
    higher_is_better: tuple[bool, ...]
    of_network: tuple[bool, ...] = ()

    @classmethod
    def of(cls, readouts: Mapping[str, Directed]) -> Panel:
        """The panel of a table of readouts."""
        values = readouts.values()
        directions = tuple(r.higher_is_better for r in values)
        return cls(tuple(readouts), directions, tuple(r.of_network for r in values))

    def __len__(self) -> int:
        return len(self.names)

    def lacking(self, values: Mapping[str, object]) -> list[str]:
        """Names that a reading's values do not have."""
        return [name for name in self.names if name not in values]

    def oriented(self, values: Mapping[str, float | str]) -> tuple[float, ...]:
        """The panel's values, signs turned so that higher is better; NaN stays NaN.

        Raises:
            KeyError: a readout is not among ``values``.
        """
        return tuple(
            float(values[name]) if higher else -float(values[name])
            for name, higher in zip(self.names, self.higher_is_better, strict=True)
        )

    def published(self, oriented: tuple[float, ...]) -> float:
        """The value of a panel of one readout with its own sign again."""
        (value,) = oriented
        return value if self.higher_is_better[0] else -value
