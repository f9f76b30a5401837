"""Reader: reads a trial's model in your own trainable."""

from __future__ import annotations

from typing import Any

from torch import nn

from prescreen.integrations.panel_reader import OnError, PanelReader
from prescreen.integrations.ray.results import STEP, as_result, require_free_names
from prescreen.panel import DEFAULT_PANEL
from prescreen.predictions import Link
from prescreen.readouts import Readouts, resolve_readouts


class Reader:
    """Reads the model of a trial, in the form that the trial reports.

    ::

        reader = Reader(model, unlabelled)
        for step in range(1, 1001):
            ...
            if step % 100 == 0:
                tune.report({"accuracy": accuracy, **reader.read(step)})

    In data-parallel training let one process read and report.

    Args:
        model: the model that is trained; reading leaves it exactly as it was. Make the reader before
            training: it measures the untrained network, if the panel needs that.
        inputs: the unlabelled probe batch, the same in all trials, in the form that the model takes.
        readouts: names or a mapping, as in ``screen``; they must include those of the scheduler.
        head: dotted name of the prediction head, if it is not found.
        link: how logits become predictions.
        batch_statistics: as in ``read``.
        on_error: if a readout fails, ``"warn"`` once and let the trial continue, or ``"raise"``.

    Raises:
        ValueError: an argument is not allowed, such as an unknown readout.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Any,
        readouts: Readouts = DEFAULT_PANEL,
        *,
        head: str | None = None,
        link: Link = "softmax",
        batch_statistics: bool = True,
        on_error: OnError = "warn",
    ) -> None:
        self._readouts = resolve_readouts(readouts)
        require_free_names(self._readouts)
        self._first = True
        self._panel = PanelReader(
            model,
            inputs,
            self._readouts,
            who="the trial",
            head=head,
            link=link,
            batch_statistics=batch_statistics,
            on_error=on_error,
        )

    def read(self, step: int) -> dict[str, Any]:
        """Read the model.

        A model that has diverged gives NaN, and −∞ as its score. A score of NaN is not defined for the
        model.

        Args:
            step: optimizer steps taken so far.

        Returns:
            ``{"step": step, "prescreen": {readout: value, …, "score": score}}``, to be reported with
            other results. The score is the panel's first readout, oriented so that higher is better.
            With measures of the untrained network, ``"architecture"`` identifies that network. If a
            readout failed and ``on_error`` is ``"warn"``, there is no ``"prescreen"``.
        """
        reading = self._panel.read(step)
        if reading is None:
            return {STEP: int(step)}
        first, self._first = self._first, False
        return as_result(reading, self._readouts, first=first)
