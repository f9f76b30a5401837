"""Monitor: reads a model during training on fixed unlabelled inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from torch import nn

from prescreen.checkpoints.readings import plain_step
from prescreen.heads.wrappers import unwrap
from prescreen.loggers import Log, guarded, logged
from prescreen.panel import CHECKPOINT_PANEL
from prescreen.part import Part
from prescreen.predictions import Link
from prescreen.probe import Probe
from prescreen.processes import told_by_first
from prescreen.reading import Reading
from prescreen.readouts import Readouts
from prescreen.tasks.images.views import shifted_images
from prescreen.text import showing
from prescreen.views import ViewChoice


class Monitor:
    """Readings of one model during a whole training run; the model is left exactly as it was.

    BatchNorm uses its running statistics, as it will when deployed. (In brief training these are
    useless, and `Probe` uses the batch's.)

    In data-parallel training call ``read`` in every process. The first process reads and sends the
    reading to the others: all decide alike. Sharded models cannot be read.

    A monitor follows one training. It forgets earlier readings if the step goes back or the model has
    another structure; ``reset`` it if another training begins.

    Args:
        unseen: inputs that the model is not trained on, the same for all readings, in the form that the
            model takes. Tensors may be on any device.
        seen: inputs that it is trained on, not augmented; needed for ``"gap/..."``.
        view: a function that changes inputs but not what they show, or the name of a view, as in
            ``Probe``. By default images (N, C, H, W) are shifted by a sixteenth of their width, and all
            else is read with noise in the weights.
        readouts: names or a mapping, as in ``Probe``.
        head: dotted name of the prediction head, if it is not found.
        link: how logits become predictions.
        parts: what else is read, by name, as in ``Probe``.
        log: takes every reading: one of ``prescreen.loggers`` or your own function of values and step.

    Raises:
        ValueError: an unknown readout or view, or a readout that needs ``seen``.
    """

    __repr__ = showing(readouts="readouts")

    def __init__(
        self,
        unseen: Any,
        *,
        seen: Any = None,
        view: ViewChoice = None,
        readouts: Readouts = CHECKPOINT_PANEL,
        head: str | None = None,
        link: Link = "softmax",
        parts: Mapping[str, Part] | None = None,
        log: Log | None = None,
    ) -> None:
        self._probe = Probe(
            unseen,
            readouts,
            seen=seen,
            view=shifted_images if view is None else view,
            head=head,
            link=link,
            parts=parts,
            batch_statistics=False,
            on_diverged="nan",
        )
        self._log = guarded(log)
        self._latest = -1  # step of the latest reading
        self._structure = ""  # of its model
        self.readouts = self._probe.readouts
        if of_network := [name for name, one in self.readouts.items() if one.of_network]:
            raise ValueError(
                "`readouts` must tell checkpoints apart, got measures of the untrained network: "
                f"{', '.join(of_network)}"
            )

    def read(self, model: nn.Module, step: int) -> Reading:
        """Read the model.

        Args:
            model: as it is trained, wrapped or not.
            step: optimizer steps taken so far.

        Returns:
            The same reading in every process. Values are NaN if the model has diverged, or if they need
            an earlier reading and there is none, as at the first one and after a restart without
            ``load_state_dict``.

        Raises:
            ValueError: the model cannot take the inputs, or its head is not found. Other processes than
                the first raise ValueError or RuntimeError with its message.
        """
        step = plain_step(step)
        return told_by_first(lambda: self._read(model, step))

    def _read(self, model: nn.Module, step: int) -> Reading:
        found = _structure(model)
        if step < self._latest or found != (self._structure or found):
            self.reset()
        self._latest, self._structure = step, found
        reading = self._probe.read(model, step)
        self._log(logged(reading), step)
        return reading

    def reset(self) -> None:
        """Forget earlier readings, because another training begins."""
        self.load_state_dict({"steps": [], "logits": []})

    def state_dict(self) -> dict[str, Any]:
        """The state for ``load_state_dict``: the latest predictions, with which the next are compared.

        Tensors and plain values. In data-parallel training only the first process's state counts.
        """
        return {**self._probe.state_dict(), "latest": self._latest, "structure": self._structure}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""
        self._probe.load_state_dict(state)
        self._latest = state.get("latest", max(state["steps"], default=-1))
        self._structure = state.get("structure", "")


def _structure(model: nn.Module) -> str:
    """A digest of the names and shapes of a model's parameters, wrapped or not."""
    named = unwrap(model).named_parameters()
    shapes = [f"{name.replace('_orig_mod.', '')} {tuple(one.shape)}" for name, one in named]
    return hashlib.sha256("\n".join(shapes).encode(errors="replace")).hexdigest()
