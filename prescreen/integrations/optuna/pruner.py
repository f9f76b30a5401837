"""ReadoutPruner: prunes the trials of a study by their readings."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args

from optuna.pruners import BasePruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial

from prescreen.checks import require_one_of
from prescreen.integrations.optuna.attributes import values_by_step
from prescreen.integrations.optuna.composition import parts
from prescreen.integrations.optuna.memory import memory_of
from prescreen.integrations.optuna.reasons import note, reasons_of
from prescreen.integrations.optuna.stock import StudyOfReadings, judge_by, require_stock
from prescreen.panel import DEFAULT_PANEL
from prescreen.pruning import (
    Guard,
    Improvement,
    Panel,
    Population,
    Reason,
    Rule,
    bounded,
    contradiction,
    judge,
    report,
)
from prescreen.readouts import Readouts, to_compare
from prescreen.text import showing

logger = logging.getLogger(__name__)

OnNan = Literal["prune", "keep", "raise"]


class ReadoutPruner(BasePruner):
    """Prune by readings: a rule says which trial is poor, and a guard when to trust the rule.

    The readings come from ``Reader``. They are compared with those of other trials at the same step: a
    trial's score is that of ``rank`` or, with other rules than `Improvement`, the mean of its ranks. The
    study's direction does not matter: it may have several objectives. All state is in the storage:
    threads, processes and resumed studies agree, and so does Ray's ``ReadoutScheduler``.

    Args:
        rule: ``Improvement()``, over all trials that have come to the step, ``Median(percentile=50.0)``,
            over trials that completed, ``Halving(grace_period, reduction_factor=4)``, over all trials
            at a rung, or one of Optuna's pruners that do not halve, such as ``PatientPruner``,
            ``ThresholdPruner`` or ``WilcoxonPruner``. These are shown the scores or, with one readout,
            its values and direction.
        readouts: the readouts to compare: names or a mapping to ``Readout``.
        n_startup_trials: completed trials that must have been read at the step.
        n_warmup_steps: trials are not pruned before this step.
        interval_steps: distance in steps between pruning checks.
        min_agreement: for other rules than ``Improvement``: how well the completed trials' order at
            this step must agree with their order at the latest step that they share (Spearman's ρ less
            a standard error); None to prune unchecked. In the first steps a readout's order may be
            meaningless or inverted.
        max_false_prune: of the trials that would end best, the largest share that may be pruned. By
            default 0.6 with ``Improvement``, and unbounded with other rules. These are bounded by the
            completed trials that the rule would have pruned and that ended in the best tenth (with
            several objectives: in the front); α needs at least 1/α − 1 completed trials that it would
            have pruned.
        max_regret: for ``Improvement`` in a study with one objective, and in its units: bounds instead
            by how much the best trial that is kept may be expected to be worse.
        on_nan: what to do with a trial whose latest reading is NaN in all readouts of the trained
            network: ``"prune"``, ``"keep"`` or ``"raise"``. ``"raise"`` also applies to a single NaN in
            the panel. Otherwise a readout that is NaN for a trial is not defined for it, and tells no
            trials apart.

    Raises:
        ValueError: an argument is not allowed, such as ``SuccessiveHalvingPruner`` as the rule.
    """

    __repr__ = showing(rule="rule", readouts="readouts", guard="guard")

    def __init__(
        self,
        rule: Rule | BasePruner = Improvement(),  # noqa: B008  # frozen
        readouts: Readouts = DEFAULT_PANEL,
        *,
        n_startup_trials: int = 5,
        n_warmup_steps: int = 0,
        interval_steps: int = 1,
        min_agreement: float | None = 0.5,
        max_false_prune: float | None = None,
        max_regret: float | None = None,
        on_nan: OnNan = "prune",
    ) -> None:
        _require_rule(rule)
        require_one_of("on_nan", on_nan, get_args(OnNan))
        self.rule = bounded(rule, max_false_prune, max_regret)
        self.readouts = to_compare(readouts)
        self.panel = Panel.of(self.readouts)
        self.on_nan = on_nan
        self.guard = Guard(
            n_startup_trials=n_startup_trials,
            n_warmup_steps=n_warmup_steps,
            interval_steps=interval_steps,
            min_agreement=min_agreement,
            max_false_prune=max_false_prune,
        )
        self._noted = False

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial should end, as of its latest reading.

        Raises:
            ValueError: the reading lacks a readout of the panel, or has a NaN and ``on_nan`` is
                ``"raise"``.
        """
        readings = values_by_step(trial)
        step = max(readings, default=None)
        if step is None:
            return False
        self._check(readings[step], trial.number, step)
        self._require_objective(study)
        reason = self.guard.waits(step, max((one for one in readings if one != step), default=None))
        return note(study, trial, reason or self._judge(study, trial, step), step)

    def _judge(self, study: Study, trial: FrozenTrial, step: int) -> Reason:
        memory = memory_of(study, self.panel)
        with memory.lock:
            population = memory.update(study, trial)
            if population.has_diverged(trial.number, step):
                kind = "diverged" if self.on_nan == "prune" else "diverged, kept"
                return Reason(kind, f"diverged at step {step}")
            if isinstance(self.rule, BasePruner):
                return judge_by(self.rule, self.guard, population, study, trial)
            reason = judge(self.rule, self.guard, population, trial.number, step)
            if not reason.pruned:
                self._note(population, step)
            return reason

    def report(self, study: Study) -> str:
        """In a few lines, how well readings go with the objective, and what pruned or kept trials."""
        memory = memory_of(study, self.panel)
        with memory.lock:
            population = memory.update(study)
            return report(population, self.guard, memory.pruned, reasons_of(study).values())

    def score(self, study: Study, trial: FrozenTrial) -> tuple[float, StudyDirection]:
        """One number for the latest reading, and which way it is good.

        With one readout it is its value, with several the mean rank among the completed trials.
        """
        memory = memory_of(study, self.panel)
        with memory.lock:
            shown = StudyOfReadings(study, trial, memory.update(study, trial))
            scores = shown.twin(trial).intermediate_values
            return scores[max(scores)], shown.direction

    def _require_objective(self, study: Study) -> None:
        rule, count = self.rule, len(study.directions)
        if isinstance(rule, Improvement) and rule.max_regret is not None and count > 1:
            raise ValueError(
                f"`max_regret` must be None in a study with several objectives, got {rule.max_regret} "
                f"and {count} objectives"
            )

    def _note(self, population: Population, step: int) -> None:
        """Say once that pruning is off because completed trials contradict the readings."""
        if self._noted or not isinstance(self.rule, Improvement):
            return
        if line := contradiction(population, self.guard, step):
            logger.warning("ReadoutPruner: %s", line)
            self._noted = True

    def _check(self, values: Mapping[str, Any], number: int, step: int) -> None:
        if lacking := self.panel.lacking(values):
            raise ValueError(
                f"`readouts` must be among those that trial {number} was read by at step {step} "
                f"({', '.join(values)}), got {', '.join(lacking)}"
            )
        if self.on_nan != "raise" or step == 0:  # before training no head says anything
            return
        oriented = self.panel.oriented(values)
        nan = [n for n, v in zip(self.panel.names, oriented, strict=True) if math.isnan(v)]
        if nan:
            raise ValueError(
                "`on_nan` must be prune or keep if readings have NaN, got raise and NaN for "
                f"{', '.join(nan)} at step {step} of trial {number}"
            )


def _require_rule(rule: object) -> None:
    """Refuse a rule that cannot decide on readings.

    Raises:
        ValueError: it is neither one of ours nor a pruner that can be shown readings.
    """
    if isinstance(rule, Rule):
        return
    if not isinstance(rule, BasePruner):
        got = f"the class {rule.__name__}" if inspect.isclass(rule) else repr(rule)
        raise ValueError(
            f"`rule` must be Improvement(), Median(), Halving(grace_period) or one of Optuna's pruners, "
            f"got {got}"
        )
    if any(isinstance(part, ReadoutPruner) for part in parts(rule)):
        raise ValueError("`rule` must not contain a ReadoutPruner, got one")
    require_stock(rule)
