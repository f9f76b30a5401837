"""Panel: which readouts a decision looks at, and which way each of them is good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


class Directed(Protocol):
    """What has a direction: a readout, or a measure of the untrained network."""

    @property
    def higher_is_better(self) -> bool:
        """Which way is good."""


@dataclass(frozen=True)
class Panel:
    """Names and directions of the readouts that are compared; it holds no functions and pickles.

    Args:
        names: the readouts.
        higher_is_better: for each of them, which way is good.
    """

    names: tuple[str, ...]
    higher_is_better: tuple[bool, ...]

    @classmethod
    def of(cls, readouts: Mapping[str, Directed]) -> Panel:
        """The panel of a table of readouts."""
        return cls(tuple(readouts), tuple(r.higher_is_better for r in readouts.values()))

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
