"""Reader: reads a trial's model in your own training loop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from optuna.pruners import BasePruner
from optuna.study import Study
from optuna.trial import BaseTrial, Trial
from torch import nn

from prescreen.integrations.budget import Account
from prescreen.integrations.optuna.attributes import earlier_reading
from prescreen.integrations.optuna.distributed import shared
from prescreen.integrations.optuna.recorder import Mirror, Recorder
from prescreen.integrations.panel_reader import OnError, PanelReader
from prescreen.loggers import Log
from prescreen.part import Part
from prescreen.predictions import Link
from prescreen.reading import Reading
from prescreen.readouts import Readouts
from prescreen.text import showing
from prescreen.views import ViewChoice


class Reader:
    """Reads the model of a trial, stores the readings with the trial, and asks a pruner.

    ::

        reader = Reader(trial, model, unlabelled)
        for step in range(1, 1001):
            ...
            reader.read(step)
            if reader.should_prune():
                raise optuna.TrialPruned()

    ``read`` may be asked at every step. It decides by itself which steps are read: of the first ones at
    or after 1, 2, 3, 4, 6, 8, 12, 16, 24, … those that the budget covers, mostly the same in all trials.
    Decisions then depend on time; ``budget=None`` is reproducible. What the panel says of the untrained
    network is stored when the reader is made, as a reading at step 0, for rules that learn what it is
    worth: ``should_prune`` may end a trial before it is trained.

    It also works in studies with several objectives, where Optuna itself can neither report nor prune.
    In data-parallel training give every process's reader its ``TorchDistributedTrial``, and ask in all
    of them: the first one reads and decides, and the others are told.

    Args:
        trial: the running trial; a ``FixedTrial`` is read but never pruned.
        model: the model that is trained; reading leaves it exactly as it was. Make the reader before
            training: it measures the untrained network, if the panel needs that. If the trial, or a dead
            attempt that it retries, has been read before, those measures are taken over: the model may
            then be trained, and be loaded from a checkpoint before or after.
        inputs: the unlabelled probe batch, the same in all trials, in the form that the model takes.
        readouts: names or a mapping, as in ``screen``; by default those of the study's pruner, or
            ``DEFAULT_PANEL``.
        budget: the share of the study's time in this process that reading may take, with measures of
            untrained networks, writes to the storage and decisions. The first of each kind is free. None
            to read whenever asked.
        pruner: decides; by default the study's own pruner. If that is one of Optuna's, it is shown the
            readings: ``ReadoutPruner(study.pruner, readouts)``.
        view: a function that changes inputs but not what they show, or the name of a view, as in
            ``Probe``. By default images are shifted, and all else is read with noise in the weights.
        head: dotted name of the prediction head, if it is not found.
        link: how logits become predictions.
        parts: what else is read, by name, as in ``Probe``.
        batch_statistics: as in ``read``.
        mirror: for optuna-dashboard. ``"attributes"`` also stores the latest readouts, and the score
            that the pruner is shown, as numbers, a write for each. True reports the score instead, in
            the study's direction, for ``plot_intermediate_values``: it steers samplers and becomes the
            value of a pruned trial.
        log: takes every reading: one of ``prescreen.loggers`` or a function of values, step and trial.
        on_error: if a readout fails, ``"warn"`` once and let the trial continue, or ``"raise"``.

    Raises:
        ValueError: an argument is not allowed, such as an unknown readout.
    """

    __repr__ = showing(trial="_recorder._trial.number", readouts="_recorder.readouts")

    def __init__(
        self,
        trial: BaseTrial,
        model: nn.Module,
        inputs: Any,
        readouts: Readouts | None = None,
        *,
        budget: float | None = 0.02,
        pruner: BasePruner | None = None,
        view: ViewChoice = None,
        head: str | None = None,
        link: Link = "softmax",
        parts: Mapping[str, Part] | None = None,
        batch_statistics: bool = True,
        mirror: Mirror = False,
        log: Log | None = None,
        on_error: OnError = "warn",
    ) -> None:
        own, self._tell = shared(trial)
        # How the time of the next decision is noted; None if there is nothing new to decide on.
        self._noting: Callable[[], AbstractContextManager[None]] | None = None
        self._panel: PanelReader | None = None  # in other processes than the first

        def begin() -> None:
            self._recorder = Recorder(own, readouts, pruner=pruner, mirror=mirror, log=log)
            self._panel = PanelReader(
                model,
                inputs,
                self._recorder.readouts,
                account=_account_of(own),
                budget=budget,
                view=view,
                who=f"trial {own.number}",
                head=head,
                link=link,
                parts=parts,
                batch_statistics=batch_statistics,
                on_error=on_error,
                earlier=earlier_reading(own),
            )
            if budget is not None and self._recorder.begins_untrained:
                self._begin(self._panel)

        self._tell(begin)

    @property
    def share(self) -> float:
        """The share of the trial's time up to the latest call that reading took; 0 where none does."""
        return 0.0 if self._panel is None else self._panel.meter.share

    def read(self, step: int) -> Reading | None:
        """Read the model if it is worth it, and store the reading with the trial: one write.

        A model that has diverged gives NaN; the pruner's ``on_nan`` decides what follows.

        Args:
            step: optimizer steps taken so far; higher than at the previous reading, which may be at 0.

        Returns:
            The reading; None if none is due, or if it failed and ``on_error`` is ``"warn"``.

        Raises:
            ValueError: the step is not after the last one.
            RuntimeError: the trial has ended, or the storage cannot be written.
        """
        reading: Reading | None = self._tell(lambda: self._read(step))
        return reading

    def should_prune(self) -> bool:
        """Whether the trial should end, as of its latest reading.

        If nothing was read since the latest answer, it continues, and the storage is not asked.
        """
        return bool(self._tell(self._should_prune))

    def _read(self, step: int) -> Reading | None:
        assert self._panel is not None
        self._recorder.require_later(step)
        if not self._panel.meter.is_due(step):
            return None
        with self._panel.reading():
            reading = self._panel.read(step)
            if reading is None:
                return None
            overhead = self._panel.meter.overhead
            values, architecture = reading.values, reading.architecture
            reading = self._recorder.record(step, values, architecture, overhead=overhead)
        self._noting = self._panel.meter.deciding
        return reading

    def _should_prune(self) -> bool:
        noting, self._noting = self._noting, None
        if noting is None:
            return False
        with noting():
            return self._recorder.should_prune()

    def _begin(self, panel: PanelReader) -> None:
        """Store what is known before training, as a reading at step 0."""
        reading = panel.before_training()
        if reading is None:
            return
        with panel.meter.preparing():
            self._recorder.store(replace(reading, overhead=panel.meter.overhead))
        self._noting = panel.meter.preparing


_accounts: WeakKeyDictionary[Study, Account] = WeakKeyDictionary()
_lock = threading.Lock()


def _account_of(trial: BaseTrial) -> Account:
    """The account that the trials of a study share; a stand-in for a study has one for each trial."""
    if not isinstance(trial, Trial):
        return Account()
    with _lock:
        try:
            return _accounts.setdefault(trial.study, Account())
        except TypeError:  # without weak references
            return Account()
