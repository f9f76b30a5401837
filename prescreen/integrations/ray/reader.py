"""Reader: reads a trial's model in your own trainable."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ray import tune
from torch import nn

from prescreen.integrations.budget import Account
from prescreen.integrations.panel_reader import OnError, PanelReader
from prescreen.integrations.ray.results import (
    PREFIX,
    SCORE,
    STEP,
    as_result,
    not_due,
    require_free_names,
)
from prescreen.panel import DEFAULT_PANEL
from prescreen.part import Part
from prescreen.predictions import Link
from prescreen.readouts import Readouts, resolve_readouts
from prescreen.text import showing
from prescreen.views import ViewChoice

# Of all trials of this process, which runs one at a time.
_ACCOUNT = Account()


class Reader:
    """Reads the model of a trial, in the form that the trial reports.

    ::

        reader = Reader(model, unlabelled)
        for step in range(1, 1001):
            ...
            if step % 100 == 0:
                tune.report({"accuracy": accuracy, **reader.read(step)})

    ``read`` decides by itself which steps are read: of the first ones at or after 1, 2, 3, 4, 6, 8, 12,
    16, 24, … those that the budget covers, mostly the same in all trials. Decisions then depend on time;
    ``budget=None`` is reproducible.

    In data-parallel training let one process read and report. If a trial writes checkpoints, save
    ``reader.state_dict()`` in them, and give it to ``reader.load_state_dict`` where the trial continues
    from one: the model is then trained, and cannot be measured as an untrained one.

    Args:
        model: the model that is trained; reading leaves it exactly as it was. Make the reader before
            training: it measures the untrained network, if the panel needs that.
        inputs: the unlabelled probe batch, the same in all trials, in the form that the model takes.
        readouts: names or a mapping, as in ``screen``; they must include those of the scheduler.
        budget: the share of the time of trials in this process that reading may take, with measures of
            untrained networks. The first of each kind is free. None to read whenever asked.
        view: a function that changes inputs but not what they show, or the name of a view, as in
            ``Probe``. By default images are shifted, and all else is read with noise in the weights.
        head: dotted name of the prediction head, if it is not found.
        link: how logits become predictions.
        parts: what else is read, by name, as in ``Probe``.
        batch_statistics: as in ``read``.
        on_error: if a readout fails, ``"warn"`` once and let the trial continue, or ``"raise"``.

    Raises:
        ValueError: an argument is not allowed, such as an unknown readout.
    """

    __repr__ = showing(readouts="_readouts")

    def __init__(
        self,
        model: nn.Module,
        inputs: Any,
        readouts: Readouts = DEFAULT_PANEL,
        *,
        budget: float | None = 0.02,
        view: ViewChoice = None,
        head: str | None = None,
        link: Link = "softmax",
        parts: Mapping[str, Part] | None = None,
        batch_statistics: bool = True,
        on_error: OnError = "warn",
    ) -> None:
        self._readouts = resolve_readouts(readouts)
        require_free_names(self._readouts)
        self._asks = budget is None  # whenever it is asked
        self._first = True
        self._score = math.nan
        # Whether measures of the untrained network may be those of a trained one.
        self._doubtful = False
        self._panel = PanelReader(
            model,
            inputs,
            self._readouts,
            account=_ACCOUNT,
            budget=budget,
            view=view,
            who="the trial",
            head=head,
            link=link,
            parts=parts,
            batch_statistics=batch_statistics,
            on_error=on_error,
        )
        self._doubtful = self._panel.took_measures and _continues()

    @property
    def share(self) -> float:
        """The share of the trial's time up to the latest call that reading took."""
        return self._panel.meter.share

    def read(self, step: int) -> dict[str, Any]:
        """Read the model if it is worth it.

        A model that has diverged gives NaN, and −∞ as its score. A score of NaN is not defined for the
        model. At step 0, before training, the panel says what is known of the untrained network, which
        needs no other reading; all else is NaN then.

        Args:
            step: optimizer steps taken so far.

        Returns:
            ``{"step": step, "prescreen": {readout: value, …, "score": score}}``, to be reported with
            other results. The score is the panel's first readout, oriented so that higher is better.
            With measures of the untrained network, ``"architecture"`` identifies that network;
            ``"overhead"`` is how many seconds of the trial reading took so far. If no reading is due,
            there is only the score, of the latest reading. If a readout failed and ``on_error`` is
            ``"warn"``, there is no ``"prescreen"``.

        Raises:
            ValueError: the trial continues from a checkpoint, the panel has measures of the untrained
                network, and the reader's state was not loaded.
        """
        if self._doubtful:
            raise ValueError(
                "`reader` must have its state where a trial continues from a checkpoint, got none: save "
                "reader.state_dict() with the checkpoint, and reader.load_state_dict() it"
            )
        start = self._panel.before_training() if step == 0 and not self._asks else None
        if start is not None:
            return as_result(start, self._readouts, first=False)
        if not self._panel.meter.is_due(step):
            return not_due(step, self._score)
        with self._panel.reading():
            reading = self._panel.read(step)
        if reading is None:
            return {STEP: int(step)}
        first, self._first = self._first, False
        reading = replace(reading, overhead=self._panel.meter.spent)
        result = as_result(reading, self._readouts, first=first)
        self._score = result[PREFIX][SCORE]
        return result

    def state_dict(self) -> dict[str, Any]:
        """The state for ``load_state_dict``: tensors and plain values."""
        return {**self._panel.state_dict(), "score": self._score, "first": self._first}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state, before or after the model's is loaded."""
        self._panel.load_state_dict(state)
        self._score, self._first = float(state["score"]), bool(state["first"])
        self._doubtful = False


def _continues() -> bool:
    """Whether this process runs a trial that continues from a checkpoint."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # outside of trials
        return tune.get_checkpoint() is not None
