"""Own random state: draws of a training, apart from those of everyone else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from prescreen.random_state import forked


class OwnRandomState:
    """A separate state of torch's global generators, which layers such as dropout use.

    All of it is kept in main memory, also that of a GPU's generators: swapping it waits for nobody.

    Args:
        seed: of the generators.
        device: where is trained.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.devices = [device] if device.type == "cuda" else []
        with forked(self.devices, seed):
            self._save()

    @contextmanager
    def active(self) -> Iterator[None]:
        """The global generators are in this state inside; afterwards in their own."""
        with forked(self.devices):
            torch.set_rng_state(self._cpu)
            for device, state in zip(self.devices, self._cuda, strict=True):
                torch.cuda.set_rng_state(state, device)
            yield
            self._save()

    def state_dict(self) -> dict[str, Any]:
        """The state for ``load_state_dict``."""
        return {"cpu": self._cpu, "cuda": self._cuda}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""
        # A checkpoint may have been loaded onto a GPU; generators take states from the CPU.
        self._cpu = state["cpu"].cpu()
        self._cuda = [one.cpu() for one in state["cuda"]]

    def _save(self) -> None:
        self._cpu = torch.get_rng_state()
        self._cuda = [torch.cuda.get_rng_state(device) for device in self.devices]
