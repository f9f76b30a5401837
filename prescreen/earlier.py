"""Earlier: the predictions of the latest two readings, which the next one is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from prescreen.predictions import Logits, Predictions


class Earlier:
    """What a model predicted at its latest two readings, by the role of the head.

    Two, because training that returns to the step of the latest one is compared with the one before.
    """

    def __init__(self) -> None:
        self._taken: list[tuple[int, dict[str, Tensor]]] = []

    def before(self, step: int, now: Mapping[str, Predictions]) -> dict[str, Logits] | None:
        """Predictions at the nearest earlier step, None if there is none; remembers the present ones."""
        known = [(at, taken) for at, taken in self._taken if at < step][-1:]
        self._taken = [*known, (step, {role: head.logits for role, head in now.items()})]
        for _, taken in known:
            return {
                role: Logits(taken[role].to(head.logits), head.link) for role, head in now.items()
            }
        return None

    def state_dict(self) -> dict[str, Any]:
        """Steps and logits, on the CPU."""
        return {
            "steps": [step for step, _ in self._taken],
            "logits": [
                {role: logits.cpu() for role, logits in taken.items()} for _, taken in self._taken
            ],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""
        # Before there were parts, the logits were those of the model's own head.
        logits = [dict(one) if isinstance(one, Mapping) else {"": one} for one in state["logits"]]
        self._taken = [*zip(state["steps"], logits, strict=True)]
