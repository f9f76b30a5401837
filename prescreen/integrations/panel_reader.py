"""PanelReader: a panel's values from one model in training, which a failing readout must not end."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any, Literal, get_args

from torch import nn

from prescreen.captured import Link, NonFiniteError
from prescreen.measuring import Measure, read, split

OnError = Literal["warn", "raise"]


class PanelReader:
    """What the hosts' readers have in common.

    Args:
        model: what is trained. Measures of the untrained network are taken now.
        inputs: the unlabelled probe batch.
        readouts: the panel.
        who: what the warning calls the trial.
        head: dotted name of the prediction head, where it cannot be found.
        link: how logits become predictions.
        batch_statistics: as in ``read``.
        on_error: ``"warn"`` once if a readout fails and let the trial go on, or ``"raise"``.

    Raises:
        ValueError: ``on_error`` is something else.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Any,
        readouts: Mapping[str, Measure],
        *,
        who: str,
        head: str | None,
        link: Link,
        batch_statistics: bool,
        on_error: OnError,
    ) -> None:
        if on_error not in get_args(OnError):
            raise ValueError(
                f"on_error: one of {', '.join(get_args(OnError))} is allowed, got {on_error!r}"
            )
        self._model = model
        self._inputs = inputs
        self._who = who
        self._options: dict[str, Any] = {
            "head": head,
            "link": link,
            "batch_statistics": batch_statistics,
        }
        self._on_error = on_error
        self._warned = False
        of_network, self._of_head = split(readouts)
        self._untrained = {name: one(model, inputs, head) for name, one in of_network.items()}

    def values(self) -> dict[str, float] | None:
        """The panel's values now; NaN where the model has diverged, None if a readout failed."""
        try:
            return self._untrained | self._values()
        except Exception as error:  # a readout must not end a search, whatever it stumbles over
            if self._on_error == "raise":
                raise
            self._warn(error)
            return None

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
                f"{self._who} goes on without a reading: {type(error).__name__}: {line}",
                stacklevel=4,
            )
        self._warned = True
