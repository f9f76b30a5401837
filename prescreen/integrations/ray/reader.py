"""Reader: reads a trial's model in a trainable of the user's own."""

from __future__ import annotations

import math
import warnings
from typing import Any, Literal, get_args

from torch import nn

from prescreen.capture import Link, NonFiniteError
from prescreen.integrations.ray.results import STEP, as_result, require_free_names
from prescreen.reading import RANKING_PANEL, Readouts, read, resolve_readouts, split

OnError = Literal["warn", "raise"]


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
        readouts: Readouts = RANKING_PANEL,
        *,
        head: str | None = None,
        link: Link = "softmax",
        batch_statistics: bool = True,
        on_error: OnError = "warn",
    ) -> None:
        if on_error not in get_args(OnError):
            raise ValueError(
                f"on_error: one of {', '.join(get_args(OnError))} is allowed, got {on_error!r}"
            )
        self._readouts = resolve_readouts(readouts)
        require_free_names(self._readouts)
        self._model = model
        self._inputs = inputs
        self._options: dict[str, Any] = {
            "head": head,
            "link": link,
            "batch_statistics": batch_statistics,
        }
        self._on_error = on_error
        self._warned = False
        of_network, self._of_head = split(self._readouts)
        self._untrained = {name: one(model, inputs, head) for name, one in of_network.items()}

    def read(self, step: int) -> dict[str, Any]:
        """Read the model.

        A model that has diverged gives NaN, and −∞ as its score.

        Args:
            step: optimizer steps taken so far.

        Returns:
            ``{"step": step, "prescreen": {readout: value, …, "score": score}}``, to be reported with
            whatever else. The score is the panel's first readout, its sign turned so that higher is
            better. Without ``"prescreen"`` if a readout failed and ``on_error`` is ``"warn"``.
        """
        try:
            values = self._values()
        except Exception as error:  # a readout must not end a search, whatever it stumbles over
            if self._on_error == "raise":
                raise
            self._warn(error)
            return {STEP: int(step)}
        return as_result(step, self._untrained | values, self._readouts)

    def _values(self) -> dict[str, float]:
        if not self._of_head:
            return {}
        try:
            return read(self._model, self._inputs, self._of_head, **self._options)
        except NonFiniteError:
            return dict.fromkeys(self._of_head, math.nan)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            line = (str(error).strip().splitlines() or ["no message"])[0]
            warnings.warn(
                f"the trial goes on without a reading: {type(error).__name__}: {line}",
                stacklevel=3,
            )
        self._warned = True
