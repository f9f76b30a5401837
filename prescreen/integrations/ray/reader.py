"""Reader: reads a trial's model in a trainable of the user's own."""

from __future__ import annotations

from typing import Any

from torch import nn

from prescreen.integrations.panel_reader import OnError, PanelReader
from prescreen.integrations.ray.results import STEP, as_result, require_free_names
from prescreen.panel import DEFAULT_PANEL
from prescreen.predictions import Link
from prescreen.readouts import Readouts, resolve_readouts


class Reader:
    """Readings of one trial's model, as what the trial reports.

    ::

        reader = Reader(model, unlabelled)
        for step in range(1, 1001):
            ...
            if step % 100 == 0:
                tune.report({"accuracy": accuracy, **reader.read(step)})

    In data-parallel training let one process read and report.

    Args:
        model: what is trained; reading leaves it exactly as it was. What a panel wants of the
            untrained network is measured when the reader is made: make it before training.
        inputs: the unlabelled probe batch, the same in all trials: whatever the model takes.
        readouts: names or a mapping, as in ``screen``; those that the scheduler looks at must be
            among them.
        head: dotted name of the prediction head, where it cannot be found.
        link: how logits become predictions.
        batch_statistics: as in ``read``.
        on_error: ``"warn"`` once if a readout fails and let the trial go on, or ``"raise"``.

    Raises:
        ValueError: an argument is not what is allowed, such as an unknown readout.
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

        A model that has diverged gives NaN, and −∞ as its score.

        Args:
            step: optimizer steps taken so far.

        Returns:
            ``{"step": step, "prescreen": {readout: value, …, "score": score}}``, to be reported with
            whatever else. The score is the panel's first readout, its sign turned so that higher is
            better. With measures of the untrained network ``"architecture"`` tells whose they are.
            Without ``"prescreen"`` if a readout failed and ``on_error`` is ``"warn"``.
        """
        reading = self._panel.read(step)
        return {STEP: int(step)} if reading is None else as_result(reading, self._readouts)
