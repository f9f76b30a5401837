"""Surroundings: the global state that a candidate may change, kept apart from that of all others."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from prescreen.screening.global_state import State, global_state, set_global_state


class Surroundings:
    """The global state as one candidate sees it: as it was found, then as the candidate left it.

    The generators of ``random`` and NumPy begin at the seed. What a candidate changes in modules
    (patched functions) is not undone. Threads have this state together: it is left as it is outside of
    the main thread, and while several are inside.

    Args:
        seed: of the generators.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._inside: State | None = None

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The candidate's state inside the context; afterwards what was there before."""
        outside = global_state()
        visit = _Visit()
        try:
            if self._inside is not None and visit.alone:
                set_global_state(outside, self._inside)
            elif visit.alone:
                random.seed(self._seed)
                np.random.seed(self._seed % 2**32)
            yield
        finally:
            if visit.end():
                self._inside = global_state()
                set_global_state(self._inside, outside)


class _Visit:
    """Whether it is the main thread's, and no other was inside from its beginning to its end."""

    _lock = threading.Lock()
    _all: set[_Visit] = set()  # noqa: RUF012  # of the class, on purpose

    def __init__(self) -> None:
        with self._lock:
            self._all.add(self)
            self.alone = threading.current_thread() is threading.main_thread()
            if len(self._all) > 1:
                for one in self._all:
                    one.alone = False

    def end(self) -> bool:
        with self._lock:
            self._all.discard(self)
            return self.alone
