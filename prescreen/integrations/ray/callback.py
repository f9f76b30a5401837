"""ReadoutCallback: saves the state of a scheduler, which Tune itself loses on restore."""

from __future__ import annotations

import logging
from typing import Any

from ray.tune import Callback

from prescreen.integrations.ray.results import PREFIX, REASON, STOPPED
from prescreen.integrations.ray.scheduler import ReadoutScheduler
from prescreen.pruning import summary
from prescreen.text import showing

logger = logging.getLogger(__name__)


class ReadoutCallback(Callback):
    """Saves a scheduler's state with the experiment, and marks the trials that the scheduler stops.

    Used as ``RunConfig(callbacks=[ReadoutCallback(scheduler)])``. Tune saves the state of callbacks but
    not of schedulers (ray#30838, unchanged in Ray 2.60). It does so at the same time as for trials: both
    are restored together. The last result of a stopped trial has ``prescreen/stopped``, and every result
    has the reason of the last check, ``prescreen/reason``.

    Args:
        scheduler: the scheduler of ``TuneConfig``.
    """

    __repr__ = showing(scheduler="_scheduler")

    def __init__(self, scheduler: ReadoutScheduler) -> None:
        self._scheduler = scheduler

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Mark the result that ended a trial and say why; Tune lets callbacks change results."""
        own: dict[str, Any] = {}
        if (reasons := self._scheduler.reasons.get(trial.trial_id)) is not None:
            own[REASON] = reasons.last
        if trial.trial_id in self._scheduler.stopped:
            own[STOPPED] = True
        if (
            own
        ):  # In place: callbacks of earlier versions (2.46) get a copy of the outer dict alone.
            result.setdefault(PREFIX, {}).update(own)

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Say once why trials were kept, if none was stopped."""
        reasons = self._scheduler.reasons
        if reasons and not self._scheduler.stopped:
            lines = "; ".join(summary(reasons.values()))
            logger.warning(
                "ReadoutScheduler: none of %d trials was stopped: %s", len(reasons), lines
            )

    def get_state(self) -> dict[str, Any]:
        """The state that Tune saves."""
        return self._scheduler.state_dict()

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore the scheduler from the state that Tune saved."""
        self._scheduler.load_state_dict(state)
