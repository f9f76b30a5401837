"""Monitor: reads a model in training, checkpoint by checkpoint, on fixed unlabelled inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from prescreen.capture import Link, NonFiniteError
from prescreen.execution import map_tensors
from prescreen.forward import capture
from prescreen.reading import require_names
from prescreen.readouts import Readout
from prescreen.readouts.paired import Paired, get_paired
from prescreen.trajectory import Reading

# Of one run's checkpoints, in eval mode; docs/selection.md says why this one.
SELECTION_PANEL: tuple[str, ...] = ("mutual_information",)


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
        view: makes of the unseen inputs others of the same classes, such as mirrored ones
            (``lambda x: x.flip(-1)``); needed for ``"agreement"``.
        readouts: names as in ``read``, ``"gap/NAME"`` of such a name, and ``"agreement"``.
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
        readouts: Sequence[str] = SELECTION_PANEL,
        head: str | None = None,
        link: Link = "softmax",
    ) -> None:
        self.readouts = resolve_selection(readouts)
        inputs = {"seen": seen, "view": None if view is None else view(unseen)}
        pairs = {name: one for name, one in self.readouts.items() if isinstance(one, Paired)}
        for name, one in pairs.items():
            if inputs[one.other] is None:
                raise ValueError(f"{one.other}: needed for the readout {name!r}, got None")
        needed = {one.other for one in pairs.values()}
        self._inputs = {"unseen": unseen} | {k: v for k, v in inputs.items() if k in needed}
        self._head = head
        self._link = link

    def read(self, model: nn.Module, step: int) -> Reading:
        """Read the model.

        Args:
            model: as it is trained, wrapped or not.
            step: optimizer steps taken so far.

        Returns:
            The same in every process. Values are NaN where the model has diverged.

        Raises:
            ValueError: the model cannot take the inputs, or its head is not found.
        """
        if not (dist.is_available() and dist.is_initialized()):
            return Reading(step, self._values(model))
        told: list[dict[str, float] | Exception] = [{}]
        if dist.get_rank() == 0:
            try:
                told = [self._values(model)]
            except Exception as error:  # the other processes wait for an answer, whatever it is
                told = [error]
        dist.broadcast_object_list(told)
        if isinstance(told[0], Exception):
            raise told[0]
        return Reading(step, told[0])

    def _values(self, model: nn.Module) -> dict[str, float]:
        weight = next(model.parameters(), torch.empty(0))
        options: dict[str, Any] = {"head": self._head, "link": self._link}
        try:
            taken = {
                name: capture(
                    model,
                    map_tensors(inputs, lambda tensor: tensor.to(weight.device)),
                    batch_statistics=False,
                    **options,
                )
                for name, inputs in self._inputs.items()
            }
        except NonFiniteError:
            return dict.fromkeys(self.readouts, math.nan)
        unseen = taken["unseen"]
        return {
            name: one(unseen, taken[one.other]) if isinstance(one, Paired) else one(unseen)
            for name, one in self.readouts.items()
        }


def resolve_selection(readouts: Sequence[str]) -> dict[str, Readout | Paired]:
    """Names to readouts and paired ones.

    Raises:
        ValueError: a name is unknown, given twice, or there is none.
    """
    require_names(readouts)
    return {name: get_paired(name) for name in readouts}
