"""Recorder: stores a trial's readings and asks whether to prune it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, Literal

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import BaseTrial, Trial

from prescreen.checks import require_one_of
from prescreen.integrations.optuna.attributes import latest_state, trajectory, write_reading
from prescreen.integrations.optuna.composition import parts
from prescreen.integrations.optuna.distributed import require_own
from prescreen.integrations.optuna.pruner import ReadoutPruner
from prescreen.loggers import PREFIX, Log, guarded, logged
from prescreen.panel import DEFAULT_PANEL
from prescreen.pruning import Improvement
from prescreen.reading import Reading
from prescreen.readouts import Readouts, resolve_readouts
from prescreen.text import showing

# False, True to report the score as Optuna's pruners expect it, or as attributes, which steer nothing.
Mirror = bool | Literal["attributes"]


class Recorder:
    """Stores readings of one trial that were made elsewhere; ``Reader`` also makes them.

    Args:
        trial: the running trial; a ``FixedTrial`` is never pruned.
        readouts: the readouts in a reading; by default those of the pruner, or ``DEFAULT_PANEL``.
        pruner: decides; by default the study's own pruner. If that is one of Optuna's, it is shown the
            readings: ``ReadoutPruner(study.pruner, readouts)``.
        mirror: show readings in optuna-dashboard; see ``Reader``.
        log: takes every reading; see ``Reader``.

    Raises:
        ValueError: an unknown readout; ``mirror=True`` in a study with several objectives; a trial that
            several processes share.
    """

    __repr__ = showing(trial="_trial.number", readouts="readouts")

    def __init__(
        self,
        trial: BaseTrial,
        readouts: Readouts | None = None,
        *,
        pruner: BasePruner | None = None,
        mirror: Mirror = False,
        log: Log | None = None,
    ) -> None:
        require_own(trial)
        require_one_of("mirror", str(mirror), ("True", "False", "attributes"))
        self._trial = trial
        self._study: Study | None = trial.study if isinstance(trial, Trial) else None
        if mirror is True and self._study is not None and len(self._study.directions) > 1:
            raise ValueError(
                "`mirror` must be 'attributes' or False in a study with several objectives, where "
                f"Optuna does not take reports, got {mirror!r} and {len(self._study.directions)} of them"
            )
        self._mirror, self._log = mirror, guarded(log)
        self._pruner = pruner if pruner is not None or self._study is None else self._study.pruner
        wanted = self._judged_readouts() if readouts is None else readouts
        self.readouts = resolve_readouts(wanted)
        self._trajectory = trajectory(trial)
        self._start = time.perf_counter()

    def record(
        self,
        step: int,
        values: Mapping[str, float],
        architecture: str = "",
        *,
        overhead: float = math.nan,
    ) -> Reading:
        """Store values that were read at a step: one write.

        Args:
            step: optimizer steps taken so far; higher than at the previous reading.
            values: readout name to value.
            architecture: a string that is equal for trials of one architecture, which measures of the
                untrained network do not tell apart; empty if unknown.
            overhead: seconds of the trial that reading took so far; NaN if unknown.

        Raises:
            ValueError: the step is not after the last one, or a readout is missing from the values.
            RuntimeError: the trial has ended, or the storage cannot be written.
        """
        self.require_later(step)
        # NumPy's numbers are not JSON: only the in-memory storage accepts them.
        plain = {name: float(value) for name, value in values.items()}
        seconds = time.perf_counter() - self._start
        reading = Reading(
            int(step), plain, seconds, architecture=architecture, overhead=float(overhead)
        )
        self.store(reading)
        return reading

    def store(self, reading: Reading) -> None:
        """Store a reading: one write.

        Raises:
            ValueError: the step is not after the last one, or a readout is missing from the values.
            RuntimeError: the trial has ended, or the storage cannot be written.
        """
        self.require_later(reading.step)
        if lacking := [name for name in self.readouts if name not in reading.values]:
            raise ValueError(
                f"`values` must have {', '.join(self.readouts)}, got none for {', '.join(lacking)}"
            )
        write_reading(self._trial, reading)
        self._trajectory.append(reading)
        self._log(logged(reading), reading.step, f"trial {self._trial.number}")
        if self._mirror and reading.step > 0:
            self._show(reading)

    @property
    def begins_untrained(self) -> bool:
        """Whether a decision on what is known before training can be of use, and there is none yet.

        Rules other than ``Improvement`` would take it for a reading of the trained network.
        """
        pruner = self._pruner
        knows = isinstance(pruner, ReadoutPruner) and isinstance(pruner.rule, Improvement)
        return knows and not len(self._trajectory)

    def should_prune(self) -> bool:
        """Whether the trial should end, as of its latest reading."""
        if not isinstance(self._trial, Trial) or not len(self._trajectory):
            return False
        return self._judge().prune(self._trial.study, latest_state(self._trial))

    def require_later(self, step: int) -> None:
        """Refuse a step that is not after the latest reading.

        Raises:
            ValueError: it is not after the latest reading, or not an integer.
        """
        after = self._trajectory.last.step if len(self._trajectory) else -1
        if not hasattr(step, "__index__") or isinstance(step, bool) or step <= after:
            raise ValueError(f"`step` must be an integer above {after}, got {step!r}")

    def _judge(self) -> BasePruner:
        if self._pruner is not None and self._judges():
            return self._pruner
        return ReadoutPruner(self._pruner or Improvement(), self.readouts)

    def _judges(self) -> list[ReadoutPruner]:
        inside = [] if self._pruner is None else parts(self._pruner)
        return [part for part in inside if isinstance(part, ReadoutPruner)]

    def _judged_readouts(self) -> Readouts:
        judged: dict[str, Any] = {}
        for judge in self._judges():
            judged.update(judge.readouts)
        return judged or DEFAULT_PANEL

    def _show(self, reading: Reading) -> None:
        """Report the score or, as attributes, what is defined: optuna-dashboard plots plain numbers."""
        if not isinstance(self._trial, Trial):
            return
        judges = self._judges() or [ReadoutPruner(readouts=self.readouts)]
        score, direction = judges[0].score(self._trial.study, latest_state(self._trial))
        if self._mirror is True:
            same = direction is self._trial.study.direction
            self._trial.report(score if same else -score, reading.step)
            return
        for name, value in logged(reading).items():
            self._trial.set_user_attr(name, value)
        if math.isfinite(score):
            self._trial.set_user_attr(f"{PREFIX}/score", float(score))
