"""PrunedSearch: tells a searcher which trials were stopped or failed."""

from __future__ import annotations

import math
from typing import Any

from ray.tune.search import Searcher

from prescreen.integrations.ray.results import FAILURE, PREFIX, SCORE, STOPPED
from prescreen.text import showing

_SCORE = f"{PREFIX}/{SCORE}"


class PrunedSearch(Searcher):
    """A searcher that does not see stopped and failed trials as completed.

    If a scheduler stops a trial, Tune still gives the searcher its last result as the final one:
    ``OptunaSearch`` takes the value after few steps for the final value, and a trial that ends with NaN
    for one that is still running. With this class the searcher does not get such results. In
    ``OptunaSearch`` the trials then count as pruned, which Optuna's samplers can use.

    Args:
        searcher: such as ``OptunaSearch(space.sample, metric="prescreen/score", mode="max")``. The
            scheduler needs its ``ReadoutCallback``, which marks the trials.
    """

    __repr__ = showing(searcher="_searcher")

    def __init__(self, searcher: Searcher) -> None:
        self._searcher = searcher
        super().__init__(metric=searcher.metric, mode=searcher.mode)

    def set_search_properties(
        self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any
    ) -> bool:
        """Pass on the metric and mode of ``TuneConfig``."""
        taken = bool(self._searcher.set_search_properties(metric, mode, config, **spec))
        self._metric, self._mode = self._searcher.metric, self._searcher.mode
        return taken

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Pass on the limit."""
        return bool(self._searcher.set_max_concurrency(max_concurrent))

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The suggestion of the searcher."""
        suggestion: dict[str, Any] | None = self._searcher.suggest(trial_id)
        return suggestion

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass on an intermediate result."""
        self._searcher.on_trial_result(trial_id, result)

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Pass on the end of a trial, and its result if it was neither stopped nor failed.

        If a trial's score is not defined, the searcher is told of an error, as the trial is neither good
        nor bad.
        """
        final = None if result is None or self._cut_short(result) else result
        scored = self.metric != _SCORE or result is None or not math.isnan(result.get(_SCORE, 0.0))
        self._searcher.on_trial_complete(trial_id, result=final, error=error or not scored)

    def save(self, checkpoint_path: str) -> None:
        """Save the searcher."""
        self._searcher.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Restore the searcher."""
        self._searcher.restore(checkpoint_path)

    def _cut_short(self, result: dict[str, Any]) -> bool:
        metrics = [self.metric] if isinstance(self.metric, str) else self.metric or []
        return (
            bool(result.get(f"{PREFIX}/{STOPPED}"))
            or f"{PREFIX}/{FAILURE}" in result
            or any(math.isnan(result.get(metric, 0.0)) for metric in metrics)
        )
