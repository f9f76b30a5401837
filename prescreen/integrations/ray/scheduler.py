"""ReadoutScheduler: a Tune scheduler that stops trials by their readings."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ray.tune.schedulers import FIFOScheduler

from prescreen.checks import require_at_least
from prescreen.integrations.ray.results import FAILURE, PREFIX, STEP, reading_in, was_due
from prescreen.panel import DEFAULT_PANEL
from prescreen.pruning import (
    Guard,
    Improvement,
    Panel,
    Population,
    Reasons,
    Rule,
    bounded,
    contradiction,
    judge,
    report,
    with_reason,
)
from prescreen.readouts import Readouts, to_compare
from prescreen.text import named_line, showing

logger = logging.getLogger(__name__)


class ReadoutScheduler(FIFOScheduler):
    """Stop trials by their readings, ranked among those of other trials at the same step.

    Readings come from ``Reader`` or ``trainable``. What they say of a trial's end is learnt from the
    trials that ran to theirs: from the metric of ``TuneConfig`` in its mode or, if there is none, from
    what their trained networks read last. The scheduler's state is
    lost on ``Tuner.restore`` unless ``ReadoutCallback(scheduler)`` saves it. Decisions are deterministic
    if results come in the same order.

    Args:
        rule: ``Improvement()``, which stops trials that are unlikely to end better than the best;
            ``Median(percentile=50.0)``, over trials that ran to their end; or ``Halving(grace_period,
            reduction_factor=4)``, over all trials at a rung.
        readouts: the readouts to compare: names or a mapping to ``Readout``.
        time_attr: the entry of a result that counts optimizer steps.
        max_t: trials end at this step and count as complete; None to leave this to the trainable.
        n_startup_trials: complete trials that must have been read at the step.
        n_warmup_steps: trials are not stopped before this step.
        interval_steps: distance in steps between the checks.
        min_agreement: for other rules than ``Improvement``: how well the complete trials' order at this
            step must agree with their order at the latest step that they share (Spearman's ρ less a
            standard error); None to stop trials unchecked.
        max_false_prune: of the trials that would end best, the largest share that may be stopped. By
            default 0.6 with ``Improvement``, and unbounded with other rules. These are bounded by the
            complete trials that the rule would have stopped and that ended in the best tenth of the
            objective. They need ``TuneConfig(metric=…, mode=…)``, and α at least 1/α − 1 such trials.
        max_regret: for ``Improvement`` with ``TuneConfig(metric=…, mode=…)``, and in units of the
            metric: bounds instead by how much the best trial that ends may be expected to be worse.

    Raises:
        ValueError: an argument is not allowed.

    Attributes:
        stopped: the id of every stopped trial, with the step of the reading that stopped it.
        reasons: what the checks of each trial came to, by its id.
    """

    __repr__ = showing(rule="_rule", readouts="_panel.names", stopped="stopped")

    stopped: dict[str, int]
    reasons: dict[str, Reasons]
    _numbers: dict[str, int]

    def __init__(
        self,
        rule: Rule = Improvement(),  # noqa: B008  # frozen
        readouts: Readouts = DEFAULT_PANEL,
        *,
        time_attr: str = STEP,
        max_t: int | None = None,
        n_startup_trials: int = 5,
        n_warmup_steps: int = 0,
        interval_steps: int = 1,
        min_agreement: float | None = 0.5,
        max_false_prune: float | None = None,
        max_regret: float | None = None,
    ) -> None:
        super().__init__()
        if not isinstance(rule, Rule):
            raise ValueError(f"`rule` must be an Improvement, a Median or a Halving, got {rule!r}")
        if max_t is not None:
            require_at_least("max_t", max_t, 1)
        self._rule: Rule = bounded(rule, max_false_prune, max_regret)
        self._guard = Guard(
            n_startup_trials=n_startup_trials,
            n_warmup_steps=n_warmup_steps,
            interval_steps=interval_steps,
            min_agreement=min_agreement,
            max_false_prune=max_false_prune,
        )
        self._panel = Panel.of(to_compare(readouts))
        self._time_attr = time_attr
        self._max_t = max_t
        self._objective: tuple[str, float] | None = None
        self._begin()

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take the objective; the searcher gets it as well.

        Raises:
            ValueError: a bound needs an objective, and there is none.
        """
        self._begin()  # drops the state of an earlier experiment
        self._objective = None if metric is None else (metric, -1.0 if mode == "min" else 1.0)
        if self._objective is None:
            self._require_no_bound()
        return True

    def on_trial_add(self, controller: Any, trial: Any) -> None:
        """Number a trial, in the order in which Tune makes them."""
        self._number(trial.trial_id)

    def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Whether a trial continues, as of its latest result; never raises."""
        try:
            return self._decision(trial.trial_id, result)
        except Exception as error:  # it would end the whole experiment
            self._note_once(f"{trial.trial_id} continues, {named_line(error)}")
            return str(self.CONTINUE)

    def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Take a trial's last result; never raises."""
        try:
            self._complete(trial.trial_id, result)
        except Exception as error:
            self._note_once(f"{trial.trial_id} is left out of comparisons, {named_line(error)}")

    def debug_string(self) -> str:
        """What Tune prints for the scheduler: what readings are worth so far, and what kept trials."""
        known = self.reasons.values()
        lines = report(self._population, self._guard, len(self.stopped), known)
        return f"Using ReadoutScheduler: {lines}"

    def state_dict(self) -> dict[str, Any]:
        """All that decisions depend on, except settings."""
        return {
            "population": self._population,
            "numbers": self._numbers,
            "stopped": self.stopped,
            "reasons": self.reasons,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""
        self._population, self._numbers = state["population"], state["numbers"]
        self.stopped = state["stopped"]
        self.reasons = state.get("reasons", {})  # an earlier version saved none

    def _require_no_bound(self) -> None:
        bounds = {"max_false_prune": self._guard.max_false_prune}
        if isinstance(
            self._rule, Improvement
        ):  # it bounds false prunes without an objective as well
            bounds = {"max_regret": self._rule.max_regret}
        for name, value in bounds.items():
            if value is not None:
                raise ValueError(
                    f"`{name}` must be None without TuneConfig(metric=…, mode=…), got {value}"
                )

    def _begin(self) -> None:
        self._population = Population(self._panel)
        self._numbers = {}
        self._noted = False  # that a trial has no reading
        self._off = False  # that readings contradict the objective
        self.stopped = {}
        self.reasons = {}

    def _decision(self, trial_id: str, result: Mapping[str, Any]) -> str:
        if trial_id in self.stopped:  # before a crash
            return str(self.STOP)
        step = self._take_in(trial_id, result)
        number = self._number(trial_id)
        if step is not None:
            reason = judge(self._rule, self._guard, self._population, number, step)
            self.reasons[trial_id] = with_reason(self.reasons.get(trial_id), reason, step)
            if reason.pruned:
                self.stopped[trial_id] = step
                return str(self.STOP)
        if step is not None and not self._off and isinstance(self._rule, Improvement):
            if line := contradiction(self._population, self._guard, step):
                logger.warning("ReadoutScheduler: %s", line)
            self._off = bool(line)
        at_end = self._max_t is not None and result.get(self._time_attr, 0) >= self._max_t
        return str(self.STOP if at_end else self.CONTINUE)

    def _complete(self, trial_id: str, result: Mapping[str, Any]) -> None:
        if trial_id in self.stopped or f"{PREFIX}/{FAILURE}" in result:
            return
        self._take_in(trial_id, result)
        metric, sign = self._objective or ("", 1.0)
        objective = (sign * float(result[metric]),) if metric in result else ()
        self._population.complete(self._number(trial_id), objective)

    def _take_in(self, trial_id: str, result: Mapping[str, Any]) -> int | None:
        """Take a result's reading; returns its step, None if the reading is missing or incomplete."""
        reading = reading_in(result, self._time_attr)
        if reading is None and not was_due(result):
            return None
        lacking = self._panel.names if reading is None else self._panel.lacking(reading.values)
        if reading is None or lacking:
            self._note_once(
                f"{trial_id} continues: its result lacks {', '.join(lacking)}; report "
                f'{{"{self._time_attr}": …, "{PREFIX}": {{"{self._panel.names[0]}": …}}}}, as '
                "Reader.read(step) returns it"
            )
            return None
        number = self._number(trial_id)
        self._population.read(number, reading.step, reading.values, reading.architecture)
        return reading.step

    def _number(self, trial_id: str) -> int:
        return self._numbers.setdefault(trial_id, len(self._numbers))

    def _note_once(self, line: str) -> None:
        if not self._noted:
            logger.warning("ReadoutScheduler: trial %s", line)
        self._noted = True
