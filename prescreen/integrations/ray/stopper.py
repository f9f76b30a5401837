"""ReadoutStopper: ends trials by their own readings, each on its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ray.tune import Stopper

from prescreen.integrations.ray.results import STEP, reading_in
from prescreen.reading import Reading


class StoppingRule(Protocol):
    """A decision over one trial's readings."""

    def update(self, reading: Reading) -> bool:
        """Take in the latest reading; whether to stop."""

    def state_dict(self) -> dict[str, Any]:
        """What it knows."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` gave."""


class ReadoutStopper(Stopper):
    """Ends a trial once a rule over its own readings wants to: ``RunConfig(stop=…)``.

    Such a trial is complete: its last result is its final one. Tune saves a stopper with the
    experiment and restores it. A reading that a resumed trial makes again is not looked at again.

    Args:
        make_rule: makes a new rule; every trial gets its own.
        time_attr: the result's own count of optimizer steps.
    """

    def __init__(self, make_rule: Callable[[], StoppingRule], *, time_attr: str = STEP) -> None:
        self._make_rule = make_rule
        self._time_attr = time_attr
        self._rules: dict[str, StoppingRule] = {}
        self._last: dict[str, int] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial should end; one without a reading goes on."""
        reading = reading_in(result, self._time_attr)
        if reading is None or reading.step <= self._last.get(trial_id, -1):
            return False
        self._last[trial_id] = reading.step
        if trial_id not in self._rules:
            self._rules[trial_id] = self._make_rule()
        return self._rules[trial_id].update(reading)

    def stop_all(self) -> bool:
        """Never: only trials are ended."""
        return False

    def __getstate__(self) -> dict[str, Any]:
        rules = {trial_id: rule.state_dict() for trial_id, rule in self._rules.items()}
        return {**self.__dict__, "_rules": rules}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _rules={})
        for trial_id, rule_state in state["_rules"].items():
            self._rules[trial_id] = self._make_rule()
            self._rules[trial_id].load_state_dict(rule_state)
