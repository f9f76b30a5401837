"""Surroundings: the global state that a candidate may change, kept apart from that of all others."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from prescreen.random_state import ONE_AT_A_TIME
from prescreen.screening.global_state import State, global_state, set_global_state


class Surroundings:
    """The global state as one candidate sees it: as it was found, then as the candidate left it.

    The generators of ``random`` and NumPy begin at the seed. What a candidate changes in modules
    (patched functions) is not undone. Threads have this state together, so they take turns.

    Args:
        seed: of the generators.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._inside: State | None = None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The candidate's state inside the context; afterwards what was there before."""
        with ONE_AT_A_TIME:
            outside = global_state()
            try:
                if self._inside is None:
                    random.seed(self._seed)
                    np.random.seed(self._seed % 2**32)
                else:
                    set_global_state(outside, self._inside)
                yield
            finally:
                self._inside = global_state()
                set_global_state(self._inside, outside)
