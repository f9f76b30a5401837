"""Reader: reads a trial's model in a training loop of the user's own."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, get_args

from optuna.pruners import BasePruner
from optuna.trial import BaseTrial
from torch import nn

from prescreen.capture import Link, NonFiniteError
from prescreen.integrations.optuna.recorder import Recorder
from prescreen.reading import Readouts, read, split
from prescreen.trajectory import Reading

OnError = Literal["warn", "raise"]


class Reader:
    """Readings of one trial: made from its model, stored with it, judged by a pruner.

    ::

        reader = Reader(trial, model, unlabelled)
        for step in range(1, 1001):
            ...
            if step % 100 == 0:
                reader.read(step)
                if reader.should_prune():
                    raise optuna.TrialPruned()

    It also serves studies with several objectives, where Optuna itself can neither report nor
    prune. In data-parallel training let one process read and ask, and broadcast the answer.

    Args:
        trial: the running trial; a ``FixedTrial`` is read and never pruned.
        model: what is trained; reading leaves it exactly as it was. What a panel wants of the
            untrained network is measured when the reader is made: make it before training.
        inputs: the unlabelled probe batch, the same in all trials: whatever the model takes.
        readouts: names or a mapping, as in ``screen``; by default those that the study's pruner looks
            at, or ``DEFAULT_PANEL``.
        pruner: what decides; by default the study's own pruner. If that is one of Optuna's, it
            is shown the readings: ``ReadoutPruner(study.pruner, readouts)``.
        head: dotted name of the prediction head, where it cannot be found.
        link: how logits become predictions.
        batch_statistics: as in ``read``.
        mirror: also report what the pruner is shown, turned to the study's direction, so that
            optuna-dashboard and ``plot_intermediate_values`` have something to draw. It is a second
            write, steers samplers and becomes the value of a pruned trial.
        on_error: ``"warn"`` once if a readout fails and let the trial go on, or ``"raise"``.

    Raises:
        ValueError: an argument is not what is allowed, such as an unknown readout.
    """

    def __init__(
        self,
        trial: BaseTrial,
        model: nn.Module,
        inputs: Any,
        readouts: Readouts | None = None,
        *,
        pruner: BasePruner | None = None,
        head: str | None = None,
        link: Link = "softmax",
        batch_statistics: bool = True,
        mirror: bool = False,
        on_error: OnError = "warn",
    ) -> None:
        if on_error not in get_args(OnError):
            raise ValueError(
                f"on_error: one of {', '.join(get_args(OnError))} is allowed, got {on_error!r}"
            )
        self._recorder = Recorder(trial, readouts, pruner=pruner, mirror=mirror)
        self._number = trial.number
        self._model = model
        self._inputs = inputs
        self._options: dict[str, Any] = {
            "head": head,
            "link": link,
            "batch_statistics": batch_statistics,
        }
        self._on_error = on_error
        self._failed = self._warned = False
        of_network, self._of_head = split(self._recorder.readouts)
        self._untrained = {name: one(model, inputs, head) for name, one in of_network.items()}

    def read(self, step: int) -> Reading | None:
        """Read the model and store the reading with the trial: one write to the storage.

        A model that has diverged gives NaN, which the pruner's ``on_nan`` decides about.

        Args:
            step: optimizer steps taken so far; higher than at the reading before.

        Returns:
            The reading; None if it failed and ``on_error`` is ``"warn"``.

        Raises:
            ValueError: a step that is no later one.
            RuntimeError: the trial has ended, or the storage takes no writes.
        """
        self._recorder.require_later(step)
        try:
            values = self._values()
        except Exception as error:  # a readout must not end a search, whatever it stumbles over
            if self._on_error == "raise":
                raise
            self._failed = True
            self._warn(error)
            return None
        self._failed = False
        return self._recorder.record(step, values)

    def should_prune(self) -> bool:
        """Whether the trial should end, as of its latest reading; if that failed, it goes on."""
        return not self._failed and self._recorder.should_prune()

    def _values(self) -> dict[str, float]:
        try:
            values = read(self._model, self._inputs, self._of_head, **self._options)
        except NonFiniteError:
            values = dict.fromkeys(self._of_head, math.nan)
        return self._untrained | values

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            line = (str(error).strip().splitlines() or ["no message"])[0]
            warnings.warn(
                f"trial {self._number} goes on without a reading: {type(error).__name__}: {line}",
                stacklevel=3,
            )
        self._warned = True
