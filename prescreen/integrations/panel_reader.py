"""PanelReader: readings of one model in training, which a failing readout must not end."""

from __future__ import annotations

import warnings
from typing import Any, Literal, get_args

from torch import nn

from prescreen.predictions import Link
from prescreen.probe import Probe
from prescreen.reading import Reading
from prescreen.readouts import Readouts
from prescreen.text import named_line

OnError = Literal["warn", "raise"]


class PanelReader:
    """What the readers of Optuna and Ray have in common.

    Args:
        model: what is trained. Measures of the untrained network are taken now.
        inputs: the unlabelled probe batch.
        readouts: the panel.
        who: what the warning calls the trial.
        head: dotted name of the prediction head, where it cannot be found.
        link: how logits become predictions.
        batch_statistics: as in ``Probe``.
        on_error: ``"warn"`` once if a readout fails and let the trial go on, or ``"raise"``.

    Raises:
        ValueError: ``on_error`` is something else.
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
        if on_error not in get_args(OnError):
            raise ValueError(
                f"`on_error` must be one of {', '.join(get_args(OnError))}, got {on_error!r}"
            )
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
        self._probe.read_untrained(model)

    def read(self, step: int) -> Reading | None:
        """The panel now; NaN where the model has diverged, None if a readout failed."""
        try:
            return self._probe.read(self._model, step)
        except Exception as error:  # a readout must not end a search, whatever it stumbles over
            if self._on_error == "raise":
                raise
            if not self._warned:
                line = f"{self._who} goes on without a reading: {named_line(error)}"
                warnings.warn(line, stacklevel=3)
            self._warned = True
            return None
