"""PanelReader: readings of one model in training, which continues if a readout fails."""

from __future__ import annotations

import warnings
from typing import Any, Literal, get_args

from torch import nn

from prescreen.checks import require_one_of
from prescreen.predictions import Link
from prescreen.probe import Probe
from prescreen.reading import Reading
from prescreen.readouts import Readouts
from prescreen.text import named_line

OnError = Literal["warn", "raise"]


class PanelReader:
    """The common part of the readers of Optuna and Ray.

    Args:
        model: the model to train. Measures of the untrained network are taken now.
        inputs: the unlabelled probe batch.
        readouts: the panel.
        who: the name of the trial in the warning.
        head: dotted name of the prediction head, if it is not found.
        link: how logits become predictions.
        batch_statistics: as in ``Probe``.
        on_error: if a readout fails, ``"warn"`` once and let the trial continue, or ``"raise"``.

    Raises:
        ValueError: ``on_error`` is neither.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Any,
        readouts: Readouts,
        *,
        who: str,
        head: str | None,
        link: Link,
        batch_statistics: bool,
        on_error: OnError,
    ) -> None:
        require_one_of("on_error", on_error, get_args(OnError))
        self._model = model
        self._who = who
        self._on_error = on_error
        self._warned = False
        self._probe = Probe(
            inputs,
            readouts,
            head=head,
            link=link,
            batch_statistics=batch_statistics,
            on_diverged="nan",
        )
        self._measured = False
        try:
            self._probe.read_untrained(model)
            self._measured = True
        except Exception as error:
            self._continue_without(error)

    def read(self, step: int) -> Reading | None:
        """The panel now, with NaN if the model has diverged; None if a readout failed."""
        if not self._measured:
            return None
        try:
            return self._probe.read(self._model, step)
        except Exception as error:
            self._continue_without(error)
            return None

    def _continue_without(self, error: Exception) -> None:
        """Warn once: no error of a readout may end a search, unless the user wants it to."""
        if self._on_error == "raise":
            raise error
        if not self._warned:
            line = f"{self._who} continues without a reading: {named_line(error)}"
            warnings.warn(line, stacklevel=4)
        self._warned = True
