"""ReadoutPruner: a stock pruner that judges readings, once their order may be believed."""

from __future__ import annotations

import copy
import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from optuna.pruners import BasePruner, MedianPruner, SuccessiveHalvingPruner
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from prescreen.integrations.optuna.attributes import values_by_step
from prescreen.integrations.optuna.composition import parts, require_pruner
from prescreen.integrations.optuna.memory import memory_of
from prescreen.integrations.optuna.view import StudyView
from prescreen.panel import DEFAULT_PANEL
from prescreen.pruning import Guard, Panel, Population, among_best, hindsight
from prescreen.readouts import Readouts, resolve_readouts

OnNan = Literal["prune", "keep", "raise"]


class ReadoutPruner(BasePruner):
    """Prune by readings: a pruner of Optuna's decides, a guard says when it may be believed.

    The readings come from ``Reader``. One readout is shown to the base pruner as it is, with its own
    direction; several are shown as mean rank among the readings at the same step, from 0 to 1. The
    study's own direction plays no part, so that it may have several objectives. Nothing is kept
    between calls that the storage does not hold: threads, processes and resumed studies agree.

    Args:
        base: the pruner that decides, such as ``MedianPruner()`` (the default),
            ``PercentilePruner``, ``SuccessiveHalvingPruner``, ``PatientPruner``,
            ``ThresholdPruner`` (in units of what is shown) or ``WilcoxonPruner``.
        readouts: names or a mapping to ``Readout``; what the base pruner is shown.
        n_startup_trials: completed trials that must have been read at the step.
        n_warmup_steps: no pruning before this step.
        interval_steps: distance in steps between pruning checks.
        min_agreement: how well the completed trials' order at this step must agree with their order
            at the latest step that they share (Spearman's ρ less a standard error); None to prune
            unchecked. A readout's order may be meaningless, or upside down, in the first steps.
        max_false_prune: largest tolerated share, among the completed trials that ``base`` would
            have pruned at this step, of those whose objective ended in the best tenth (in the front
            of several objectives). α needs at least 1/α − 1 such trials before anything is pruned.
        on_nan: what to do with a trial whose latest reading is NaN throughout: ``"prune"``,
            ``"keep"``, or ``"raise"``, which a single NaN of the panel is enough for. Among others,
            a NaN ranks worst in its readout.

    Raises:
        ValueError: an argument is not what is allowed; Hyperband among them.
    """

    def __init__(
        self,
        base: BasePruner | None = None,
        readouts: Readouts = DEFAULT_PANEL,
        *,
        n_startup_trials: int = 5,
        n_warmup_steps: int = 0,
        interval_steps: int = 1,
        min_agreement: float | None = 0.5,
        max_false_prune: float | None = None,
        on_nan: OnNan = "prune",
    ) -> None:
        base = MedianPruner() if base is None else base
        require_pruner("base", base)
        if any(isinstance(part, ReadoutPruner) for part in parts(base)):
            raise ValueError("base: a pruner without a ReadoutPruner in it is needed, got one")
        if on_nan not in get_args(OnNan):
            raise ValueError(
                f"on_nan: one of {', '.join(get_args(OnNan))} is allowed, got {on_nan!r}"
            )
        self.base = base
        self.readouts = resolve_readouts(readouts)
        self.panel = Panel.of(self.readouts)
        self.on_nan = on_nan
        self.guard = Guard(
            n_startup_trials=n_startup_trials,
            n_warmup_steps=n_warmup_steps,
            interval_steps=interval_steps,
            min_agreement=min_agreement,
            max_false_prune=max_false_prune,
        )
        self._everyone = any(isinstance(part, SuccessiveHalvingPruner) for part in parts(base))

    def prune(self, study: Study, trial: FrozenTrial) -> bool:
        """Whether the trial should end, as of its latest reading.

        Raises:
            ValueError: the reading lacks a readout of the panel, or holds a NaN with
                ``on_nan="raise"``.
        """
        readings = values_by_step(trial)
        step = max(readings, default=None)
        if step is None:
            return False
        values = self._checked(readings[step], trial.number, step)
        earlier = [other for other in readings if other != step]
        if not self.guard.is_due(step, max(earlier, default=None)):
            return False
        if self.on_nan != "raise" and all(math.isnan(value) for value in values):
            return self.on_nan == "prune"
        memory = memory_of(study, self.panel)
        with memory.lock:
            view = StudyView(study, trial, memory, everyone=self._everyone)
            return self._decide(view, memory.complete, step)

    def score(self, study: Study, trial: FrozenTrial) -> tuple[float, StudyDirection]:
        """What the base pruner is shown of the latest reading, and which way it is good."""
        memory = memory_of(study, self.panel)
        with memory.lock:
            view = StudyView(study, trial, memory, everyone=self._everyone)
            scores = view.judged.intermediate_values
            return scores[max(scores)], view.direction

    def _checked(self, values: Any, number: int, step: int) -> tuple[float, ...]:
        if lacking := self.panel.lacking(values):
            raise ValueError(
                f"readouts: the pruner needs {', '.join(lacking)}, the reading of trial {number} at "
                f"step {step} has {', '.join(values)}"
            )
        oriented = self.panel.oriented(values)
        nan = [n for n, v in zip(self.panel.names, oriented, strict=True) if math.isnan(v)]
        if nan and self.on_nan == "raise":
            raise ValueError(
                f"on_nan: readings without NaN are needed, got NaN for {', '.join(nan)} at step "
                f"{step} of trial {number}"
            )
        return oriented

    def _decide(self, view: StudyView, complete: Population, step: int) -> bool:
        # The base is asked first, whatever the guard says: halving notes that a rung was reached.
        base = self._fresh_base()
        if not base.prune(view, view.judged):  # type: ignore[arg-type]
            return False
        if not self.guard.has_started(len(complete.members(step))):
            return False
        if self.guard.min_agreement is not None and not self.guard.trusts_order(
            *complete.orders(step)
        ):
            return False
        if self.guard.max_false_prune is None:
            return True
        return self.guard.tolerates(*self._hindsight(view, base, step))

    def _hindsight(self, view: StudyView, base: BasePruner, step: int) -> tuple[int, int]:
        """Completed trials that the base would have pruned here, and those that ended well."""
        complete = view.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        best = self._ended_among_best(complete, view.objective_directions)
        sign = 1 if view.direction is StudyDirection.MAXIMIZE else -1
        read = [i for i, one in enumerate(complete) if step in one.intermediate_values]
        scores = np.array([sign * complete[i].intermediate_values[step] for i in read])
        rehearsal = view.rehearsal()

        def prunes(index: int) -> bool:
            as_it_was = view.as_it_was(complete[read[index]], step)
            return base.prune(rehearsal, as_it_was)  # type: ignore[arg-type]

        return hindsight(scores, best[read], prunes)

    def _ended_among_best(
        self, complete: list[FrozenTrial], directions: list[StudyDirection]
    ) -> NDArray[np.bool_]:
        """Which trials ended in the best share, or in the front; an infeasible one never did."""
        signs = [1 if d is StudyDirection.MAXIMIZE else -1 for d in directions]
        values = np.array([trial.values for trial in complete], dtype=float) * signs
        feasible = np.array([all(v <= 0 for v in t.constraints.values()) for t in complete])
        best = np.zeros(len(complete), dtype=bool)
        best[feasible] = among_best(values[feasible], self.guard.best_share)
        return best

    def _fresh_base(self) -> BasePruner:
        # SuccessiveHalvingPruner("auto") would remember its first estimate, which in another process
        # is another one.
        stock = type(self.base).__module__.startswith("optuna.pruners")
        return copy.deepcopy(self.base) if stock else self.base
