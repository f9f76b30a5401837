"""Paired: numbers read from two captures of one model, of unlike inputs or of two views of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from prescreen.readouts import Readout, get_readout

if TYPE_CHECKING:
    from prescreen.capture import Capture

_GAP = "gap/"


@dataclass(frozen=True)
class Paired:
    """A number read from a capture of unseen inputs and another one.

    Args:
        function: of the capture of unseen inputs and the other one.
        other: what the other one is of: ``"seen"``, inputs that the model was trained on, or
            ``"view"``, the unseen inputs once more in the same order, changed in a way that their
            classes survive.
        higher_is_better: which way is good.
        reference: where it was published.
    """

    function: Callable[[Capture, Capture], float]
    other: Literal["seen", "view"]
    higher_is_better: bool
    reference: str = ""

    def __call__(self, unseen: Capture, other: Capture) -> float:
        """The value."""
        return self.function(unseen, other)


def get_paired(name: str) -> Readout | Paired:
    """A readout by its name, ``"agreement"``, or ``"gap/NAME"`` of a readout.

    Raises:
        ValueError: there is no such readout.
    """
    if name in PAIRED:
        return PAIRED[name]
    if name.startswith(_GAP):
        readout = get_readout(name.removeprefix(_GAP))
        return Paired(partial(gap, readout=readout), "seen", higher_is_better=False)
    return get_readout(name)


def gap(unseen: Capture, seen: Capture, *, readout: Readout) -> float:
    """How much better a readout is on seen inputs than on unseen ones; memorisation opens it."""
    return readout.score(readout(seen)) - readout.score(readout(unseen))


def agreement(unseen: Capture, view: Capture) -> float:
    """Share of samples whose predicted class is the same in both views, from 0 to 1."""
    if view.num_samples != unseen.num_samples:
        raise ValueError(
            f"view: {unseen.num_samples} samples in the same order are needed, "
            f"got {view.num_samples}"
        )
    same = unseen.logits.argmax(1) == view.logits.argmax(1)
    return same.double().mean().item()


PAIRED = {"agreement": Paired(agreement, "view", higher_is_better=True, reference="count")}
