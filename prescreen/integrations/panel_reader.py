"""PanelReader: readings of one model in training, which continues if a readout fails."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args

import torch
from torch import nn

from prescreen.checks import require_one_of
from prescreen.integrations.budget import Account, Meter
from prescreen.part import Part
from prescreen.predictions import Link
from prescreen.probe import Probe
from prescreen.reading import Reading
from prescreen.readouts import Readouts
from prescreen.readouts.network import structure
from prescreen.tasks.rows import digest
from prescreen.text import named_line
from prescreen.trees import tensors_in
from prescreen.views import ViewChoice

OnError = Literal["warn", "raise"]


class PanelReader:
    """The common part of the readers of Optuna and Ray.

    Args:
        model: the model to train. Measures of the untrained network are taken now.
        inputs: the unlabelled probe batch.
        readouts: the panel.
        account: what trials took so far in this process.
        budget: the share of time that reading may take; None to read whenever asked.
        view: as in ``Probe``.
        who: the name of the trial in the warning.
        head: dotted name of the prediction head, if it is not found.
        link: how logits become predictions.
        parts: what else is read, by name, as in ``Probe``.
        batch_statistics: as in ``Probe``.
        on_error: if a readout fails, ``"warn"`` once and let the trial continue, or ``"raise"``.
        earlier: a reading of the same trial, from before it was resumed: the model may be
            trained by now, and measures of the untrained network are taken over.

    Raises:
        ValueError: ``on_error`` is neither, or the budget is not a share.

    Attributes:
        took_measures: whether this model was measured, as an untrained one.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Any,
        readouts: Readouts,
        *,
        account: Account,
        budget: float | None,
        view: ViewChoice,
        who: str,
        head: str | None,
        link: Link,
        parts: Mapping[str, Part] | None,
        batch_statistics: bool,
        on_error: OnError,
        earlier: Reading | None = None,
    ) -> None:
        require_one_of("on_error", on_error, get_args(OnError))
        self.meter = Meter(account, budget)
        self._account = account
        self._model = model
        self._who = who
        self._on_error = on_error
        self._warned = False
        self._probe = Probe(
            inputs,
            readouts,
            view=view,
            head=head,
            link=link,
            parts=parts,
            batch_statistics=batch_statistics,
            on_diverged="nan",
        )
        self._of_network = {n: one for n, one in self._probe.readouts.items() if one.of_network}
        self._measured = self.took_measures = False
        try:
            self._measured = self._measure(inputs, head, earlier, anew=budget is None)
        except Exception as error:
            self._continue_without(error)

    def reading(self) -> AbstractContextManager[None]:
        """A reading is taken and stored inside; it does not count what an accelerator had left to do."""
        if not self._measured:  # then there is nothing to take
            return nullcontext()
        device = next((p.device for p in self._model.parameters()), torch.device("cpu"))
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elif device.type == "mps":
            torch.mps.synchronize()
        return self.meter.reading()

    def before_training(self) -> Reading | None:
        """What is known of the untrained network, at step 0; None if nothing was measured."""
        return self._probe.before_training if self._measured else None

    def read(self, step: int) -> Reading | None:
        """The panel now, with NaN if the model has diverged; None if a readout failed."""
        if not self._measured:
            return None
        try:
            return self._probe.read(self._model, step)
        except Exception as error:
            self._continue_without(error)
            return None

    def _measure(
        self, inputs: Any, head: str | None, earlier: Reading | None, *, anew: bool
    ) -> bool:
        """Measure the untrained network or, unless anew, take over what one of its architecture had.

        Decisions give trials of one architecture the measures of one of them anyway.

        Returns:
            Whether the budget covers it.
        """
        if earlier is not None and self._take_over(earlier):
            return self.meter.begin(measures=False)
        known = self._account.known
        key = None if anew or not self._of_network else self._key(inputs, head)
        if not self.meter.begin(measures=bool(self._of_network) and key not in known):
            return False
        if key in known:
            _, measured = known[key]
            self._probe.load_state_dict({**self._probe.state_dict(), **measured})
        elif self._of_network:
            with self.meter.measuring():
                self._probe.read_untrained(self._model)
            self.took_measures = True
            state = self._probe.state_dict()
            measured = {name: state[name] for name in ("untrained", "architecture")}
            if key is not None:
                known[key] = self._of_network, measured  # no other readout gets these ids
        return True

    def _take_over(self, earlier: Reading) -> bool:
        """Take the untrained measures of an earlier reading, if it has them of this architecture."""
        values = {name: earlier.values.get(name) for name in self._of_network}
        if not values or None in values.values() or earlier.architecture != structure(self._model):
            return False
        untrained = {"untrained": values, "architecture": earlier.architecture}
        self._probe.load_state_dict({**self._probe.state_dict(), **untrained})
        return True

    def state_dict(self) -> dict[str, Any]:
        """What the next reading needs, for ``load_state_dict``: tensors and plain values."""
        return {"probe": self._probe.state_dict(), "measured": self._measured}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""
        self._probe.load_state_dict(state["probe"])
        self._measured = bool(state["measured"])

    def _key(self, inputs: Any, head: str | None) -> Any:
        """The key under which untrained measures are kept; None if the inputs cannot be hashed."""
        ids = tuple((name, id(one)) for name, one in self._of_network.items())
        with self.meter.preparing():
            try:
                return structure(self._model), digest(*tensors_in(inputs)), ids, head
            except (RuntimeError, TypeError):  # sparse and other tensors without plain memory
                return None

    def _continue_without(self, error: Exception) -> None:
        """Warn once: no error of a readout may end a search, unless the user wants it to."""
        if self._on_error == "raise":
            raise error
        if not self._warned:
            line = f"{self._who} continues without a reading: {named_line(error)}"
            warnings.warn(line, stacklevel=4)
        self._warned = True
