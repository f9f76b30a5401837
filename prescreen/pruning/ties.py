"""Ties: where measures of the untrained network must not tell trials apart."""

from __future__ import annotations

import math

from prescreen.panel import Panel
from prescreen.pruning.history import Values


class Ties:
    """What stands in a reading for its measures of the untrained network.

    These tell architectures apart and nothing else: for trials of one architecture they differ by
    chance alone. The value of the trial with the lowest number stands for all of them. A measure
    that is undefined for one trial counts for no one: all tie in it. That is the readout left out,
    as a tie of all adds the same to every score, and decisions only ask which score is higher.

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
        """Take note of a reading that is compared.

        Returns:
            Whether ``tied`` gives something else for readings that were noted before.
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
        """A reading as it is compared; an empty architecture is unknown, and one of its own."""
        if not self.of_network:
            return row
        _, stands = self._first.get(architecture, (0, row))
        tied = list(row)
        for index in self.of_network:
            tied[index] = 0.0 if index in self._undefined else stands[index]
        return tuple(tied)
