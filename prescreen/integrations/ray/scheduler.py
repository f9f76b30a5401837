"""ReadoutScheduler: a Tune scheduler that stops trials by their readings."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler

from prescreen.integrations.ray.results import FAILURE, PREFIX, STEP, reading_in
from prescreen.panel import DEFAULT_PANEL
from prescreen.pruning import Guard, Judge, Median, Panel, Rule
from prescreen.readouts import Readouts, resolve_readouts

logger = logging.getLogger(__name__)


class ReadoutScheduler(FIFOScheduler):
    """Stop trials by their readings, ranked among those of other trials at the same step.

    Readings come from ``Reader`` or ``trainable``. The metric and mode of ``TuneConfig`` are the
    objective's and go to the searcher; they play no part here, except in ``max_false_prune``. What
    the scheduler knows is lost on ``Tuner.restore`` unless ``ReadoutCallback(scheduler)`` keeps it.
    Nothing is drawn at random: results that come in the same order are decided on alike.

    Args:
        rule: ``Median(percentile=50.0)``, over trials that ran to their end, or
            ``Halving(grace_period, reduction_factor=4)``, over all trials at a rung.
        readouts: names or a mapping to ``Readout``; what is compared, as the mean of ranks.
        time_attr: the result's own count of optimizer steps.
        max_t: trials end here, as complete ones; None to leave it to the trainable.
        n_startup_trials: complete trials that must have been read at the step.
        n_warmup_steps: no trial is stopped before this step.
        interval_steps: distance in steps between the checks.
        min_agreement: how well the complete trials' order at this step must agree with their order
            at the latest step that they share (Spearman's ρ less a standard error); None to stop
            trials unchecked.
        max_false_prune: largest tolerated share, among the complete trials that the rule would have
            stopped at this step, of those whose objective ended in the best tenth; needs
            ``TuneConfig(metric=…, mode=…)`` and at least 1/α − 1 such trials.

    Raises:
        ValueError: an argument is not what is allowed.

    Attributes:
        stopped: id of every trial that was stopped, and the step of the reading that did it.
    """

    stopped: dict[str, int]
    _numbers: dict[str, int]

    def __init__(
        self,
        rule: Rule | None = None,
        readouts: Readouts = DEFAULT_PANEL,
        *,
        time_attr: str = STEP,
        max_t: int | None = None,
        n_startup_trials: int = 5,
        n_warmup_steps: int = 0,
        interval_steps: int = 1,
        min_agreement: float | None = 0.5,
        max_false_prune: float | None = None,
    ) -> None:
        super().__init__()
        rule = Median() if rule is None else rule
        if not isinstance(rule, Rule):
            raise ValueError(f"rule: a Median or a Halving is needed, got {rule!r}")
        if max_t is not None and max_t < 1:
            raise ValueError(f"max_t: at least 1, or None, is allowed, got {max_t!r}")
        guard = Guard(
            n_startup_trials=n_startup_trials,
            n_warmup_steps=n_warmup_steps,
            interval_steps=interval_steps,
            min_agreement=min_agreement,
            max_false_prune=max_false_prune,
        )
        self._settings = Panel.of(resolve_readouts(readouts)), rule, guard
        self._time_attr = time_attr
        self._max_t = max_t
        self._objective: tuple[str, float] | None = None
        self._begin()

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take in the objective; it stays the searcher's as well.

        Raises:
            ValueError: ``max_false_prune`` is on, and there is no objective.
        """
        self._begin()  # nothing of an earlier experiment counts
        self._objective = None if metric is None else (metric, -1.0 if mode == "min" else 1.0)
        if self._objective is None and self._judge.guard.max_false_prune is not None:
            raise ValueError(
                "max_false_prune: the objective is needed, TuneConfig(metric=…, mode=…), got none"
            )
        return True

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether a trial goes on, as of its latest result; never raises."""
        try:
            return self._decision(trial.trial_id, result)
        except Exception as error:  # here it would end the whole experiment
            self._note_once(f"{trial.trial_id} goes on, {type(error).__name__}: {error}")
            return str(self.CONTINUE)

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Take in a trial's last result; never raises."""
        try:
            self._complete(trial.trial_id, result)
        except Exception as error:
            self._note_once(f"{trial.trial_id} counts for none, {type(error).__name__}: {error}")

    def on_trial_remove(self, controller: Any, trial: Any) -> None:
        """Forget a trial that will not run on."""
        self._judge.forget(self._number(trial.trial_id))

    def debug_string(self) -> str:
        """What Tune prints of the scheduler."""
        return f"Using ReadoutScheduler: {len(self.stopped)} trials stopped by readings."

    def state_dict(self) -> dict[str, Any]:
        """All that decisions depend on, settings excepted."""
        return {"judge": self._judge, "numbers": self._numbers, "stopped": self.stopped}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what ``state_dict`` gave."""
        self._judge, self._numbers = state["judge"], state["numbers"]
        self.stopped = state["stopped"]

    def _begin(self) -> None:
        self._judge = Judge(*self._settings)
        self._numbers = {}
        self._noted = False
        self.stopped = {}

    def _decision(self, trial_id: str, result: Mapping[str, Any]) -> str:
        if trial_id in self.stopped:  # before a crash
            return str(self.STOP)
        if self._take_in(trial_id, result):
            self.stopped[trial_id] = int(result[self._time_attr])
            self._judge.forget(self._number(trial_id))
            return str(self.STOP)
        at_end = self._max_t is not None and result.get(self._time_attr, 0) >= self._max_t
        return str(self.STOP if at_end else self.CONTINUE)

    def _complete(self, trial_id: str, result: Mapping[str, Any]) -> None:
        if trial_id in self.stopped:
            return
        if f"{PREFIX}/{FAILURE}" in result:
            self._judge.forget(self._number(trial_id))
            return
        self._take_in(trial_id, result)
        metric, sign = self._objective or ("", 1.0)
        self._judge.complete(self._number(trial_id), sign * float(result.get(metric, math.nan)))

    def _take_in(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Take in a result's reading, if it has one; whether its trial should be stopped."""
        reading = reading_in(result, self._time_attr)
        panel = self._judge.panel
        lacking = panel.names if reading is None else panel.lacking(reading.values)
        if reading is None or lacking:
            self._note_once(
                f"{trial_id} goes on, its result has no {', '.join(lacking)}; report "
                f'{{"{self._time_attr}": …, "{PREFIX}": {{"{panel.names[0]}": …}}}}, as '
                "Reader.read(step) returns it"
            )
            return False
        return self._judge.read(self._number(trial_id), reading.step, reading.values)

    def _number(self, trial_id: str) -> int:
        return self._numbers.setdefault(trial_id, len(self._numbers))

    def _note_once(self, line: str) -> None:
        if not self._noted:
            logger.warning("ReadoutScheduler: trial %s", line.partition("\n")[0])
        self._noted = True
