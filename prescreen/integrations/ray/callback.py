"""ReadoutCallback: saves the state of a scheduler, which Tune itself loses on restore."""

from __future__ import annotations

from typing import Any

from ray.tune import Callback

from prescreen.integrations.ray.results import PREFIX, STOPPED
from prescreen.integrations.ray.scheduler import ReadoutScheduler


class ReadoutCallback(Callback):
    """Saves a scheduler's state with the experiment, and marks the trials that the scheduler stops.

    Used as ``RunConfig(callbacks=[ReadoutCallback(scheduler)])``. Tune saves the state of callbacks but
    not of schedulers (ray#30838, unchanged in Ray 2.60). It does so at the same time as for trials: both
    are restored together. The last result of a stopped trial has ``prescreen/stopped``.

    Args:
        scheduler: the scheduler of ``TuneConfig``.
    """

    def __init__(self, scheduler: ReadoutScheduler) -> None:
        self._scheduler = scheduler

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Mark the result that ended a trial; Tune lets callbacks change results."""
        if trial.trial_id in self._scheduler.stopped:
            result[PREFIX] = {**result.get(PREFIX, {}), STOPPED: True}

    def get_state(self) -> dict[str, Any]:
        """The state that Tune saves."""
        return self._scheduler.state_dict()

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore the scheduler from the state that Tune saved."""
        self._scheduler.load_state_dict(state)
