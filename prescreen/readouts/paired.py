"""Paired: numbers read from two sides of one model: unlike inputs, two views, two moments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from torch import Tensor
from torch.nn.functional import logsigmoid

from prescreen.readouts import Readout, get_readout
from prescreen.readouts.anchors import require_link

if TYPE_CHECKING:
    from prescreen.captured import Capture

_GAP = "gap/"

# What inconsistency of two views weighs, where that with the reading before weighs 1: chosen for images
# that are shifted, on runs of benchmarks/checkpoint_selection.py that are not reported.
VIEW_WEIGHT = 0.75

Other = Literal["seen", "view", "before"]


@dataclass(frozen=True)
class Paired:
    """A number read from a capture of unseen inputs and something else.

    Args:
        function: of the capture of unseen inputs and, by their names, of what else it needs.
        needs: captures: ``"seen"``, of inputs that the model was trained on, ``"view"``, of the
            unseen inputs once more in the same order, changed in a way that their classes survive;
            or ``"before"``, the logits (N, K) of the unseen inputs at the reading before.
        higher_is_better: which way is good.
        reference: where it was published.
    """

    function: Callable[..., float]
    needs: tuple[Other, ...]
    higher_is_better: bool
    reference: str = ""

    @property
    def of_network(self) -> bool:
        """Whether it is a measure of the untrained network."""
        return False

    def __call__(self, unseen: Capture, **others: Capture | Tensor) -> float:
        """The value; of the others those in ``needs`` are taken."""
        return self.function(unseen, **{name: others[name] for name in self.needs})


def get_paired(name: str) -> Readout | Paired:
    """A readout by its name, one of ``PAIRED``, or ``"gap/NAME"`` of a readout.

    Raises:
        ValueError: there is no such readout.
    """
    if name in PAIRED:
        return PAIRED[name]
    if name.startswith(_GAP):
        readout = get_readout(name.removeprefix(_GAP))
        return Paired(partial(gap, readout=readout), ("seen",), higher_is_better=False)
    return get_readout(name)


def gap(unseen: Capture, seen: Capture, *, readout: Readout) -> float:
    """How much better a readout is on seen inputs than on unseen ones; memorisation opens it."""
    return readout.score(readout(seen)) - readout.score(readout(unseen))


def agreement(unseen: Capture, view: Capture) -> float:
    """Share of samples whose predicted class is the same in both views, from 0 to 1."""
    _require_pairs(unseen, view.logits)
    same = unseen.logits.argmax(1) == view.logits.argmax(1)
    return same.double().mean().item()


def view_information(unseen: Capture, view: Capture) -> float:
    """Mutual information less inconsistency: H(p̄) + mean Σ_k p_k log p'_k, p' of the other view.

    The bound of Barber & Agakov (2003) on what a prediction, drawn from one view, shares with the
    other view, where the model itself is the one that tells it. What is confident in one view and
    contradicts itself in the other, as labels learnt by heart do, lowers it.
    """
    return get_readout("mutual_information")(unseen) - inconsistency(unseen, view.logits)


def stable_information(unseen: Capture, view: Capture, before: Tensor) -> float:
    """Mutual information less inconsistency with another view and with the reading before."""
    inconsistent = VIEW_WEIGHT * inconsistency(unseen, view.logits) + inconsistency(unseen, before)
    return get_readout("mutual_information")(unseen) - inconsistent


def inconsistency(unseen: Capture, logits: Tensor) -> float:
    """Mean KL(p_i ‖ p'_i) from other predictions of the same samples, in nats; sigmoids' are summed.

    Args:
        unseen: whose predictions are p.
        logits: of the other predictions, (N, K).
    """
    require_link("readout 'inconsistency'", unseen, "softmax", "sigmoid")
    _require_pairs(unseen, logits)
    total = sum(_divergences(unseen, logits, rows).sum().item() for rows in unseen.row_blocks())
    return total / unseen.num_samples


def _divergences(capture: Capture, logits: Tensor, rows: slice) -> Tensor:
    """From logits: probabilities of overconfident networks are 0 in float32."""
    p, ours = capture.predictions(rows), capture.logit_block(rows)
    theirs = logits[rows].to(ours)
    if capture.link == "softmax":
        return (p * (ours - theirs)).sum(1) - capture.log_partition[rows] + theirs.logsumexp(1)
    yes = p * (logsigmoid(ours) - logsigmoid(theirs))
    no = (1 - p) * (logsigmoid(-ours) - logsigmoid(-theirs))
    return (yes + no).sum(1)


def _require_pairs(unseen: Capture, logits: Tensor) -> None:
    if len(logits) != unseen.num_samples:
        raise ValueError(
            f"view: {unseen.num_samples} samples in the same order are needed, got {len(logits)}"
        )


PAIRED = {
    "agreement": Paired(agreement, ("view",), higher_is_better=True, reference="count"),
    "view_information": Paired(view_information, ("view",), True, "Barber & Agakov 2003"),
    "stable_information": Paired(stable_information, ("view", "before"), True),
}
