"""Monitor: reads a model in training, checkpoint by checkpoint, on fixed unlabelled inputs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from prescreen.captured import Capture, Link, NonFiniteError
from prescreen.heads.capturing import capture
from prescreen.heads.execute import map_tensors
from prescreen.measuring import require_names
from prescreen.panel import CHECKPOINT_PANEL
from prescreen.reading import Reading
from prescreen.readouts import Readout
from prescreen.readouts.paired import Paired, get_paired
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
        view: makes of the unseen inputs others of the same classes; needed for
            ``"stable_information"``, ``"view_information"`` and ``"agreement"``. By default images
            (N, C, H, W) are shifted by a sixteenth of their width.
        readouts: names as in ``read``, ``"gap/NAME"`` of such a name, and those three.
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
        readouts: Sequence[str] = CHECKPOINT_PANEL,
        head: str | None = None,
        link: Link = "softmax",
    ) -> None:
        self.readouts = resolve_selection(readouts)
        needs = {n: name for name, one in self.readouts.items() for n in _needs(one)}
        inputs = {"seen": seen, "view": view_of(unseen, view) if "view" in needs else None}
        for other, name in needs.items():
            if other in inputs and inputs[other] is None:
                raise ValueError(f"{other}: needed for the readout {name!r}, got None")
        self._inputs = {"unseen": unseen} | {k: v for k, v in inputs.items() if k in needs}
        self._head = head
        self._link = link
        self._follows = "before" in needs
        # Steps of the latest two readings, and logits of the unseen inputs.
        self._taken: list[tuple[int, Tensor]] = []

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
            return Reading(step, self._values(model, step))
        told: list[dict[str, float] | Exception] = [{}]
        if dist.get_rank() == 0:
            try:
                told = [self._values(model, step)]
            except Exception as error:  # the other processes wait for an answer, whatever it is
                told = [error]
        dist.broadcast_object_list(told)
        if isinstance(told[0], Exception):
            raise told[0]
        return Reading(step, told[0])

    def state_dict(self) -> dict[str, Any]:
        """What ``load_state_dict`` takes: the latest predictions, with which the next are compared.

        Tensors and plain values; in data-parallel training those of the first process count.
        """
        return {
            "steps": [step for step, _ in self._taken],
            "logits": [logits.cpu() for _, logits in self._taken],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a saved state."""
        self._taken = [*zip(state["steps"], state["logits"], strict=True)]

    def _values(self, model: nn.Module, step: int) -> dict[str, float]:
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
        unseen = taken.pop("unseen")
        others: dict[str, Capture | Tensor] = {**taken, **self._before(step, unseen)}
        return {name: _value(one, unseen, others) for name, one in self.readouts.items()}

    def _before(self, step: int, unseen: Capture) -> dict[str, Tensor]:
        """Logits at the nearest earlier step, where there is one; remember these."""
        if not self._follows:
            return {}
        earlier = [(at, logits) for at, logits in self._taken if at < step][-1:]
        self._taken = [*earlier, (step, unseen.logits)]
        return {"before": earlier[0][1]} if earlier else {}


def _value(one: Readout | Paired, unseen: Capture, others: Mapping[str, Capture | Tensor]) -> float:
    if isinstance(one, Readout):
        return one(unseen)
    return one(unseen, **others) if others.keys() >= set(one.needs) else math.nan


def _needs(readout: Readout | Paired) -> tuple[str, ...]:
    return readout.needs if isinstance(readout, Paired) else ()


def resolve_selection(readouts: Sequence[str]) -> dict[str, Readout | Paired]:
    """Names to readouts and paired ones.

    Raises:
        ValueError: a name is unknown, given twice, or there is none.
    """
    require_names(readouts)
    return {name: get_paired(name) for name in readouts}
