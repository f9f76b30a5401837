"""Reader: reads a trial's model in your own training loop."""

from __future__ import annotations

from typing import Any

from optuna.pruners import BasePruner
from optuna.trial import BaseTrial
from torch import nn

from prescreen.integrations.optuna.recorder import Recorder
from prescreen.integrations.panel_reader import OnError, PanelReader
from prescreen.predictions import Link
from prescreen.reading import Reading
from prescreen.readouts import Readouts


class Reader:
    """Reads the model of a trial, stores the readings with the trial, and asks a pruner.

    ::

        reader = Reader(trial, model, unlabelled)
        for step in range(1, 1001):
            ...
            if step % 100 == 0:
                reader.read(step)
                if reader.should_prune():
                    raise optuna.TrialPruned()

    It also works in studies with several objectives, where Optuna itself can neither report nor prune.
    In data-parallel training let one process read and ask, and broadcast the answer.

    Args:
        trial: the running trial; a ``FixedTrial`` is read but never pruned.
        model: the model that is trained; reading leaves it exactly as it was. Make the reader before
            training: it measures the untrained network, if the panel needs that.
        inputs: the unlabelled probe batch, the same in all trials, in the form that the model takes.
        readouts: names or a mapping, as in ``screen``; by default those of the study's pruner, or
            ``DEFAULT_PANEL``.
        pruner: decides; by default the study's own pruner. If that is one of Optuna's, it is shown the
            readings: ``ReadoutPruner(study.pruner, readouts)``.
        head: dotted name of the prediction head, if it is not found.
        link: how logits become predictions.
        batch_statistics: as in ``read``.
        mirror: also report the score that the pruner is shown, in the study's direction, for
            optuna-dashboard and ``plot_intermediate_values``. This is a second write, steers samplers
            and becomes the value of a pruned trial.
        on_error: if a readout fails, ``"warn"`` once and let the trial continue, or ``"raise"``.

    Raises:
        ValueError: an argument is not allowed, such as an unknown readout.
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
        self._recorder = Recorder(trial, readouts, pruner=pruner, mirror=mirror)
        self._panel = PanelReader(
            model,
            inputs,
            self._recorder.readouts,
            who=f"trial {trial.number}",
            head=head,
            link=link,
            batch_statistics=batch_statistics,
            on_error=on_error,
        )
        self._failed = False

    def read(self, step: int) -> Reading | None:
        """Read the model and store the reading with the trial: one write to the storage.

        A model that has diverged gives NaN; the pruner's ``on_nan`` decides what follows.

        Args:
            step: optimizer steps taken so far; higher than at the previous reading.

        Returns:
            The reading; None if it failed and ``on_error`` is ``"warn"``.

        Raises:
            ValueError: the step is not after the last one.
            RuntimeError: the trial has ended, or the storage cannot be written.
        """
        self._recorder.require_later(step)
        reading = self._panel.read(step)
        self._failed = reading is None
        if reading is None:
            return None
        return self._recorder.record(step, reading.values, reading.architecture)

    def should_prune(self) -> bool:
        """Whether the trial should end, as of its latest reading; if that failed, it continues."""
        return not self._failed and self._recorder.should_prune()
