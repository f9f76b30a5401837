"""ReadoutStopper: ends each trial by its own readings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ray.tune import Stopper

from prescreen.integrations.ray.results import STEP, reading_in
from prescreen.reading import Reading
from prescreen.text import showing


class StoppingRule(Protocol):
    """A decision over one trial's readings."""

    def update(self, reading: Reading) -> bool:
        """Take the latest reading; returns whether to stop."""

    def state_dict(self) -> dict[str, Any]:
        """The state of the rule."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""


class ReadoutStopper(Stopper):
    """Ends a trial when a rule on its own readings says so: ``RunConfig(stop=…)``.

    Such a trial is complete, and its last result is final. Tune saves a stopper with the experiment and
    restores it. Readings that a resumed trial repeats are ignored.

    Args:
        make_rule: makes a new rule; it is called for every trial.
        time_attr: the entry of a result that counts optimizer steps.
    """

    __repr__ = showing(make_rule="_make_rule", time_attr="_time_attr")

    def __init__(self, make_rule: Callable[[], StoppingRule], *, time_attr: str = STEP) -> None:
        self._make_rule = make_rule
        self._time_attr = time_attr
        self._rules: dict[str, StoppingRule] = {}
        self._last: dict[str, int] = {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Whether the trial should end; without a reading it continues."""
        reading = reading_in(result, self._time_attr)
        if reading is None or reading.step <= self._last.get(trial_id, -1):
            return False
        self._last[trial_id] = reading.step
        if trial_id not in self._rules:
            self._rules[trial_id] = self._make_rule()
        return self._rules[trial_id].update(reading)

    def stop_all(self) -> bool:
        """Never: the stopper only ends single trials."""
        return False

    def __getstate__(self) -> dict[str, Any]:
        rules = {trial_id: rule.state_dict() for trial_id, rule in self._rules.items()}
        return {**self.__dict__, "_rules": rules}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _rules={})
        for trial_id, rule_state in state["_rules"].items():
            self._rules[trial_id] = self._make_rule()
            self._rules[trial_id].load_state_dict(rule_state)
