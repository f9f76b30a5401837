"""TrainingProbe: readings from the forward passes that training makes anyway."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import nn

from prescreen.captured import NonFiniteError
from prescreen.heads.watching import Watched, watched
from prescreen.part import with_own
from prescreen.predictions import Link
from prescreen.random_state import ONE_AT_A_TIME
from prescreen.reading import Reading
from prescreen.readouts import Readout, Readouts, require_defined, resolve_readouts
from prescreen.readouts.naming import naming
from prescreen.readouts.others import of_one_model
from prescreen.readouts.readout import to_floats
from prescreen.text import showing

_SAID = {
    "before": "the reading before",
    "network": "the untrained network",
    "seen": "seen inputs",
    "view": "a view",
}


@dataclass
class Watching:
    """What was read of a training step.

    Attributes:
        reading: None until the forward pass is over, and if none was due.
    """

    reading: Reading | None = None


class TrainingProbe:
    """Reads the head from the training batch's own forward pass, which costs next to nothing.

    ::

        probe = TrainingProbe(["confidence", "separation"])
        for step, (images, labels) in enumerate(batches, start=1):
            with probe.watching(model, step, due=step % 25 == 0) as watched:
                loss = criterion(model(images), labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if watched.reading is not None:
                print(watched.reading)

    Values are of what the model is trained on: inputs of labelled samples, augmented, others at every
    step, with dropout and the like as in training. They are noisier than those of a fixed probe batch,
    reward what was memorised, and are not comparable with them. Labels are not used.

    Args:
        readouts: names, or a mapping from your own names to ``Readout``; such as need the head alone.
        head: dotted name of the prediction head, if it is not found.
        link: how logits become predictions: ``"softmax"``, ``"sigmoid"`` or ``"identity"``.

    Raises:
        ValueError: an unknown readout, or one that needs more than the head.
    """

    __repr__ = showing(readouts="readouts")

    def __init__(
        self, readouts: Readouts, *, head: str | None = None, link: Link = "softmax"
    ) -> None:
        self.readouts = of_one_model(resolve_readouts(readouts))
        for name, one in self.readouts.items():
            _require_head_alone(name, one)
        require_defined(self.readouts, with_own(None, link))
        self._head: str | None = head
        self._link: Link = link

    @contextmanager
    def watching(self, model: nn.Module, step: int, *, due: bool = True) -> Iterator[Watching]:
        """Read the latest forward pass of the model inside, once the block is left.

        Training is as it would be without, bit for bit: nothing is copied, drawn or changed. If the
        block raises, nothing is read.

        Args:
            model: as it is trained, wrapped or not; its forward pass must run in Python.
            step: the optimizer step that the forward pass belongs to.
            due: whether to read at all.

        Returns:
            A context that gives a `Watching`. Values are NaN if the model has diverged.

        Raises:
            ValueError: as the block is left: there was no forward pass, the weights have changed since,
                or the logits are not a layer's own output.
        """
        found = Watching()
        if not due:
            yield found
            return
        with watched(model, self._head) as watch:
            yield found
        found.reading = Reading(step, self._values(watch))

    def _values(self, watch: Watched) -> dict[str, float]:
        with ONE_AT_A_TIME:
            try:
                head = watch.capture(self._link)
            except NonFiniteError:
                return dict.fromkeys(self.readouts, math.nan)
            values = {}
            for name, readout in self.readouts.items():
                with naming(name):
                    values[name] = readout.lazily(head)
        return dict(zip(values, to_floats([*values.values()]), strict=True))


def _require_head_alone(name: str, readout: Readout) -> None:
    """Refuse what a single forward pass of training does not have."""
    lacks = [_SAID.get(need, need) for need in readout.needs if need != "head"]
    lacks += ["earlier readings"] * readout.ahead + [f"part {readout.part}"] * bool(readout.part)
    if lacks:
        raise ValueError(
            f"`readouts` must need the head alone, got {name!r}, which needs {' and '.join(lacks)}; "
            "Probe reads it"
        )
