"""Monitor: reads a model in training, checkpoint by checkpoint, on fixed unlabelled inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch.distributed as dist
from torch import nn

from prescreen.panel import CHECKPOINT_PANEL
from prescreen.predictions import Link
from prescreen.probe import Probe
from prescreen.reading import Reading
from prescreen.readouts import Readouts
from prescreen.tasks.images.views import view_of


class Monitor:
    """Readings of one model while it is trained in earnest; it is left exactly as it was.

    BatchNorm uses its running statistics, as it will when deployed: the opposite of brief training,
    where they are of no use yet.

    In data-parallel training call ``read`` in every process. The first one reads and tells the
    others, so that all decide alike. (Sharded models, which no process holds whole, are not read.)

    Args:
        unseen: inputs that the model is not trained on, the same all along: what the model takes.
            Tensors may lie on any device.
        seen: inputs that it is trained on, not augmented; needed for ``"gap/..."``.
        view: makes of the unseen inputs others that show the same; needed for
            ``"stable_information"``, ``"view_information"`` and ``"agreement"``. By default images
            (N, C, H, W) are shifted by a sixteenth of their width.
        readouts: names or a mapping, as in ``Probe``.
        head: dotted name of the prediction head, where it cannot be found.
        link: how logits become predictions.

    Raises:
        ValueError: an unknown readout, or one that needs ``seen`` or ``view``.
    """

    def __init__(
        self,
        unseen: Any,
        *,
        seen: Any = None,
        view: Callable[[Any], Any] | None = None,
        readouts: Readouts = CHECKPOINT_PANEL,
        head: str | None = None,
        link: Link = "softmax",
    ) -> None:
        self._probe = Probe(
            unseen,
            readouts,
            seen=seen,
            view=lambda inputs: view_of(inputs, view),
            head=head,
            link=link,
            batch_statistics=False,
            on_diverged="nan",
        )
        self.readouts = self._probe.readouts
        if of_network := [name for name, one in self.readouts.items() if one.of_network]:
            raise ValueError(
                "`readouts` must tell checkpoints of one network apart, got measures of the untrained "
                f"one: {', '.join(of_network)}"
            )

    def read(self, model: nn.Module, step: int) -> Reading:
        """Read the model.

        Args:
            model: as it is trained, wrapped or not.
            step: optimizer steps taken so far.

        Returns:
            The same in every process. Values are NaN where the model has diverged, and where they
            need a reading at an earlier step, which the first one lacks, and one after a restart
            without ``load_state_dict``.

        Raises:
            ValueError: the model cannot take the inputs, or its head is not found.
        """
        if not (dist.is_available() and dist.is_initialized()):
            return self._probe.read(model, step)
        told: list[Reading | Exception | None] = [None]
        if dist.get_rank() == 0:
            try:
                told = [self._probe.read(model, step)]
            except Exception as error:  # the other processes wait for an answer, whatever it is
                told = [error]
        dist.broadcast_object_list(told)
        answer = told[0]
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer

    def state_dict(self) -> dict[str, Any]:
        """What ``load_state_dict`` takes: the latest predictions, with which the next are compared.

        Tensors and plain values; in data-parallel training those of the first process count.
        """
        return self._probe.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._probe.load_state_dict(state)
