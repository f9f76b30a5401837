"""Pairs: readouts that compare one network on other inputs, another view or an earlier reading."""

from __future__ import annotations

from torch import Tensor

from prescreen.captured import Capture
from prescreen.predictions import Predictions
from prescreen.readouts import mixtures
from prescreen.readouts.anchors import before as before_anchor
from prescreen.readouts.anchors import require_link
from prescreen.readouts.anchors import view as view_anchor
from prescreen.readouts.linear_algebra import exact
from prescreen.readouts.projections import agreement as agreement_projection
from prescreen.readouts.projections import divergence, divergence_from_prior
from prescreen.readouts.readout import Readout

# The weight of inconsistency with another view; inconsistency with the previous reading has weight 1.
# Chosen for shifted images, on runs of benchmarks/checkpoints that are not reported.
VIEW_WEIGHT = 0.75


def gap(capture: Capture, seen: Capture, *, readout: Readout) -> Tensor | float:
    """How much better a readout is on seen inputs than on unseen ones; memorisation widens it."""
    ours, theirs = (_exact(readout.lazily(one)) for one in (capture, seen))
    return theirs - ours if readout.higher_is_better else ours - theirs


def agreement(capture: Capture, view: Capture) -> Tensor:
    """Whether a sample's predicted class is the same in both views; for sigmoid links of how many.

    0 or 1, or the share of classes; shape (N,).
    """
    require_link("readout 'agreement'", capture, "softmax", "sigmoid")
    other = view_anchor(capture, view)
    if capture.link == "softmax":
        return (capture.logits.argmax(1) == other.logits.argmax(1)).double()
    return ((capture.logits > 0) == (other.logits > 0)).double().mean(1)


def expected_agreement(capture: Capture, view: Capture) -> Tensor:
    """⟨p_i, p'_i⟩, for sigmoid links the mean over classes of p p' + (1 − p)(1 − p'); shape (N,).

    The share of samples whose label would be the same if one were drawn from each view's prediction: it
    takes confidence as well as consistency. It is view / agreement / none in the grid. Identity links
    have no labels: for them it is ⟨a_i − ā, a'_i − ā'⟩, the variance of outputs that both views share.
    """
    other = view_anchor(capture, view)
    if capture.link == "identity":
        ours, theirs = (one.logits.to(capture.dtype) for one in (capture, other))
        return ((ours - ours.mean(0)) * (theirs - theirs.mean(0))).sum(1)
    return agreement_projection(capture, other)


def view_information(capture: Capture, view: Capture) -> Tensor:
    """Mutual information less inconsistency: H(p̄) + mean Σ_k p_k log p'_k, p' of the other view.

    A lower bound on the mutual information between a prediction drawn from one view and the other view,
    with the model as the decoder. Predictions that are confident in one view but contradicted by the
    other, as those of memorised labels are, lower it.

    Reference: Barber & Agakov 2003.
    """
    return _information(capture) - _mean(divergence(capture, view_anchor(capture, view)))


def averaged_information(capture: Capture, view: Capture) -> Tensor:
    """KL(m_i ‖ m̄) of the mean M of both views' predictions, whose mean is its mutual information; (N,).

    What the views do not share does not survive averaging over them.
    """
    require_link("readout 'averaged_information'", capture, "softmax", "sigmoid")
    return mixtures.mixture_information([capture, view_anchor(capture, view)])


def generalised_divergence(capture: Capture, view: Capture, before: Predictions) -> Tensor:
    """Mean KL of three predictions to their mean: now, in another view, at the reading before; (N,).

    Reference: Englesson & Azizpour 2021, arXiv 2105.04522.
    """
    require_link("readout 'generalised_divergence'", capture, "softmax", "sigmoid")
    others = view_anchor(capture, view), before_anchor(capture, before)
    return mixtures.generalised_divergence([capture, *others])


def stable_information(capture: Capture, view: Capture, before: Predictions) -> Tensor:
    """Mutual information less inconsistency with another view and with the previous reading."""
    with_view = _mean(divergence(capture, view_anchor(capture, view)))
    with_before = _mean(divergence(capture, before_anchor(capture, before)))
    return _information(capture) - (VIEW_WEIGHT * with_view + with_before)


def _information(capture: Capture) -> Tensor:
    return _mean(divergence_from_prior(capture))


def _mean(values: Tensor) -> Tensor:
    """The mean in the precision of its values; what is computed from it is in float64."""
    return exact(values.mean())


def _exact(value: Tensor | float) -> Tensor | float:
    return exact(value) if isinstance(value, Tensor) else value


PAIRS: dict[str, Readout] = {
    "expected_agreement": Readout(expected_agreement, ("head", "view")),
    "agreement": Readout(agreement, ("head", "view"), reference="count"),
    "view_information": Readout(
        view_information, ("head", "view"), reference="Barber & Agakov 2003"
    ),
    "averaged_information": Readout(
        averaged_information, ("head", "view"), reference="after 2208.07360"
    ),
    "generalised_divergence": Readout(
        generalised_divergence, ("head", "view", "before"), False, "2105.04522"
    ),
    "stable_information": Readout(stable_information, ("head", "view", "before")),
}
