"""Surroundings: the global state that a candidate may change, kept apart from that of all others."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

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

    def random_state(self) -> dict[str, Any]:
        """The candidate's global generators as it left them, in plain values and tensors."""
        if self._inside is None:
            return {}
        version, state, gauss = self._inside["random"]
        name, keys, *rest = self._inside["NumPy's random state"]
        return {
            "random": [version, list(state), gauss],
            "numpy": [name, _tensor(keys), *rest],
            "torch": _tensor(self._inside["torch's random state"]),
        }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Set what ``random_state`` gave, inside the surroundings of the candidate that goes on."""
    if not state:
        return
    version, own, gauss = state["random"]
    random.setstate((version, tuple(own), gauss))
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, keys.cpu().numpy().view(np.uint32), *rest))
    torch.set_rng_state(state["torch"].cpu())


def _tensor(value: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(value), dtype=torch.uint8)
