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
        self._undefined: set[int] = set()
        self._first: dict[str, tuple[int, Values]] = {}

    def note(self, trial: int, architecture: str, row: Values, *, failed: bool) -> bool:
        """Note a reading that is compared, and whether the model had failed.

        Returns:
            Whether ``tied`` changes for readings that were noted before.
        """
        undefined = {index for index in self.of_network if math.isnan(row[index])}
        changed = not undefined <= self._undefined
        self._undefined |= undefined
        if architecture and not failed:
            first, stands = self._first.setdefault(architecture, (trial, row))
            if trial < first:
                changed |= any(row[index] != stands[index] for index in self.of_network)
                self._first[architecture] = trial, row
        return changed

    def stands(self, architecture: str, row: Values) -> Values:
        """A reading with what its architecture has; an unknown one (empty) differs from all others."""
        if not self.of_network:
            return row
        _, first = self._first.get(architecture, (0, row))
        tied = list(row)
        for index in self.of_network:
            tied[index] = first[index]
        return tuple(tied)

    def tied(self, architecture: str, row: Values) -> Values:
        """A reading as it is compared: also without measures that are undefined for a trial."""
        tied = list(self.stands(architecture, row))
        for index in self._undefined:
            tied[index] = 0.0
        return tuple(tied)
