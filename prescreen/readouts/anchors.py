"""Anchors: the distribution Q that predictions P are measured against.

An anchor is a function of a capture that returns Q in its smallest form: shape (K,) if all samples
share it, int64 (N,) if it is one-hot, (N, K) otherwise. It may also return other Predictions of the same
samples; ``view`` and ``before`` get these as a second argument.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from prescreen.captured import Capture
from prescreen.predictions import Predictions

Target = Tensor | Predictions
Anchor = Callable[..., Target]


def uniform(capture: Capture) -> Tensor:
    """No knowledge: 1/K, or ½ for sigmoid links; shape (K,)."""
    require_link("anchor 'uniform'", capture, "softmax", "sigmoid")
    share = 1 / capture.num_classes if capture.link == "softmax" else 0.5
    return capture.mean_prediction.new_full((capture.num_classes,), share)


def prior(capture: Capture) -> Tensor:
    """The mean prediction over the batch, shape (K,)."""
    if capture.link == "identity":
        return capture.mean_prediction
    # The mean is in (0, 1); rounding to 0 or 1 would make divergences infinite.
    limits = torch.finfo(capture.dtype)
    return capture.mean_prediction.clamp(limits.tiny, 1 - limits.eps)


def pseudo(capture: Capture) -> Tensor:
    """The model's own hard prediction: argmax (N,), or [p > ½] (N, K) for sigmoid links."""
    require_link("anchor 'pseudo'", capture, "softmax", "sigmoid")
    return capture.logits.argmax(1) if capture.link == "softmax" else capture.logits > 0


def gd_score(capture: Capture) -> Tensor:
    """Argmax if max p ≥ ½, else a label drawn at random (fixed seed); shape (N,).

    Reference: Deng et al. 2024, arXiv 2401.08909.
    """
    require_link("anchor 'gd_score'", capture, "softmax")
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randint(capture.num_classes, (capture.num_samples,), generator=generator)
    top, argmax = capture.logits.max(1)
    confident = top.to(capture.dtype) - capture.log_partition >= torch.tensor(0.5).log().item()
    return torch.where(confident, argmax, drawn.to(argmax.device))


def view(capture: Capture, other: Predictions) -> Predictions:
    """The predictions of another view: the inputs changed in a way that keeps what they show."""
    return _paired("view", capture, other)


def before(capture: Capture, other: Predictions) -> Predictions:
    """The predictions of the same inputs at the previous reading."""
    return _paired("before", capture, other)


def labels(y: Tensor) -> Anchor:
    """An anchor from true labels: the only way in for labels.

    Args:
        y: int64 (N,) for softmax links; (N, K) targets for sigmoid and identity links.
    """

    def anchor(capture: Capture) -> Tensor:
        shape = (capture.num_samples, capture.num_classes)
        if capture.link == "identity":
            return _dense("y", y, shape, capture)
        if capture.link == "sigmoid":
            hard = _dense("y", y, shape, capture)
            if bool(((hard != 0) & (hard != 1)).any()):
                raise ValueError(
                    "`y` must be labels of 0 or 1, got other values; give soft labels to teacher"
                )
            return hard.bool()
        if y.is_floating_point() or y.dtype == torch.bool or y.shape != shape[:1]:
            raise ValueError(
                f"`y` must be integer labels of shape ({shape[0]},), got {y.dtype} {tuple(y.shape)}"
            )
        if bool(((y < 0) | (y >= shape[1])).any()):
            raise ValueError(
                f"`y` must be labels from 0 to {shape[1] - 1}, got {y.min()} to {y.max()}"
            )
        return y.to(capture.logits.device, torch.int64)

    return anchor


def teacher(q: Tensor) -> Anchor:
    """An anchor from another model's predictions ``q``, shape (N, K)."""

    def anchor(capture: Capture) -> Tensor:
        values = _dense("q", q, (capture.num_samples, capture.num_classes), capture)
        total = values.sum(1)
        if capture.link == "softmax" and not torch.allclose(total, total.new_ones(()), atol=1e-2):
            raise ValueError(
                f"`q` must have rows that sum to 1, got sums from {total.min():.3g} to {total.max():.3g}"
            )
        return values

    return anchor


class UndefinedError(ValueError):
    """A readout is not defined for a link, or for no link."""


def require_link(part: str, capture: Capture, *allowed: str) -> None:
    """Refuse a capture whose link ``part`` is not defined for.

    Raises:
        UndefinedError: the link is not one of ``allowed``.
    """
    if capture.link not in allowed:
        raise UndefinedError(
            f"`link` must be {' or '.join(allowed)} for {part}, got {capture.link!r}"
        )


def _paired(name: str, capture: Capture, other: Predictions) -> Predictions:
    ours, theirs = tuple(capture.logits.shape), tuple(other.logits.shape)
    if ours != theirs or capture.link != other.link:
        raise ValueError(
            f"`{name}` must hold the same samples and classes as the capture, {capture.link} {ours}, "
            f"got {other.link} {theirs}"
        )
    return other


def _dense(name: str, values: Tensor, shape: tuple[int, int], capture: Capture) -> Tensor:
    if values.shape != shape:
        raise ValueError(f"`{name}` must have shape {shape}, got {tuple(values.shape)}")
    values = values.to(capture.logits.device, capture.dtype)
    if not torch.isfinite(values.sum()):
        raise ValueError(f"`{name}` must be finite, got NaN or infinite values")
    if capture.link != "identity" and bool(((values < 0) | (values > 1)).any()):
        raise ValueError(
            f"`{name}` must be from 0 to 1, got {values.min():.3g} to {values.max():.3g}"
        )
    return values


ANCHORS: dict[str, Anchor] = {
    "uniform": uniform,
    "prior": prior,
    "pseudo": pseudo,
    "gd_score": gd_score,
    "view": view,
    "before": before,
}
