"""Ties: measures of the untrained network that must not tell trials apart."""

from __future__ import annotations

import math

from prescreen.panel import Panel
from prescreen.pruning.history import Values


class Ties:
    """Replaces the measures of the untrained network in readings.

    These measures only tell architectures apart: for trials of one architecture they differ by chance.
    All of these get the value of the trial with the lowest number. If a measure is undefined for one
    trial, all trials tie in it. This is the same as leaving it out: a tie of all trials adds the same
    to every score, and decisions only compare scores.

    Args:
        panel: the readouts in a reading.
    """

    def __init__(self, panel: Panel) -> None:
        flags = panel.of_network or (False,) * len(panel)
        self.of_network = [index for index, flag in enumerate(flags) if flag]
        self._trained = [index for index, flag in enumerate(flags) if not flag]
        self._undefined: set[int] = set()
        self._first: dict[str, tuple[int, Values]] = {}

    def diverged(self, row: Values) -> bool:
        """Whether a reading is NaN in all readouts of the trained network."""
        return bool(self._trained) and all(math.isnan(row[index]) for index in self._trained)

    def note(self, trial: int, architecture: str, row: Values) -> bool:
        """Note a reading that is compared.

        Returns:
            Whether ``tied`` changes for readings that were noted before.
        """
        undefined = {index for index in self.of_network if math.isnan(row[index])}
        changed = not undefined <= self._undefined
        self._undefined |= undefined
        if architecture and not self.diverged(row):
            first, stands = self._first.setdefault(architecture, (trial, row))
            if trial < first:
                changed |= any(row[index] != stands[index] for index in self.of_network)
                self._first[architecture] = trial, row
        return changed

    def tied(self, architecture: str, row: Values) -> Values:
        """A reading as it is compared; an unknown architecture (empty) differs from all others."""
        if not self.of_network:
            return row
        _, stands = self._first.get(architecture, (0, row))
        tied = list(row)
        for index in self.of_network:
            tied[index] = 0.0 if index in self._undefined else stands[index]
        return tuple(tied)
