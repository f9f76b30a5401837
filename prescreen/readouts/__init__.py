"""Readouts: numbers read from features, logits and head weights, without labels.

A readout is a point of the grid anchor × projection × normalization, or a statistic that needs no
anchor. ``READOUTS`` names the published ones; ``get_readout("prior/gradient/feature")`` composes any
other. The grid and its definitions are prescreen's own; references say what each one follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from prescreen.readouts.anchors import ANCHORS, Anchor, labels, teacher
from prescreen.readouts.normalizations import NORMALIZATIONS, Normalization, none
from prescreen.readouts.projections import PROJECTIONS, Projection
from prescreen.readouts.statistics import STATISTICS, Statistic

if TYPE_CHECKING:
    from prescreen.captured import Capture

__all__ = [
    "ANCHORS",
    "NORMALIZATIONS",
    "PROJECTIONS",
    "READOUTS",
    "STATISTICS",
    "Readout",
    "get_readout",
    "labels",
    "teacher",
]


@dataclass(frozen=True)
class Readout:
    """A number read from a capture.

    Args:
        anchor: what predictions are compared with; None for a statistic.
        projection: how they are compared.
        normalization: the scale that is divided out.
        higher_is_better: which way is good.
        reference: where it was published.
    """

    anchor: Anchor | None
    projection: Projection | Statistic
    normalization: Normalization = none
    higher_is_better: bool = True
    reference: str = ""

    @property
    def of_network(self) -> bool:
        """Whether it is a measure of the untrained network."""
        return False

    def __call__(self, capture: Capture) -> float:
        """The readout's value; NaN where the capture leaves it undefined.

        Raises:
            ValueError: the readout is not defined for the capture's link or anchor.
        """
        return self._values(capture).mean().item()

    def per_sample(self, capture: Capture) -> Tensor:
        """The values whose mean is the readout, shape (N,).

        Raises:
            ValueError: the readout is not a mean over samples.
        """
        values = self._values(capture)
        if values.ndim == 0:
            raise ValueError(
                f"readout: per-sample values need a mean over samples, got {_name(self.projection)!r}"
            )
        return values

    def score(self, value: float) -> float:
        """``value`` oriented so that higher is better."""
        return value if self.higher_is_better else -value

    @torch.no_grad()
    def _values(self, capture: Capture) -> Tensor:
        projection: Callable[..., Tensor] = self.projection
        arguments = () if self.anchor is None else (self.anchor(capture),)
        return projection(capture, *arguments) / self.normalization(capture)


def get_readout(name: str) -> Readout:
    """A readout by its name, or by its place in the grid: ``"anchor/projection/normalization"``.

    A grid point with anchor ``uniform`` or ``prior`` is better when higher (predictions have left
    what says nothing), with the others when lower. ``none`` is the anchor of a statistic.

    Raises:
        ValueError: there is no such readout, anchor, projection or normalization.
    """
    if name in READOUTS:
        return READOUTS[name]
    if name.count("/") != 2:
        close = get_close_matches(name, READOUTS) or list(READOUTS)
        raise ValueError(
            f"readouts: {', '.join(close)} or anchor/projection/normalization are allowed, "
            f"got {name!r}"
        )
    anchor, projection, normalization = name.split("/")
    scale = _row(NORMALIZATIONS, "normalization", normalization, name)
    if anchor == "none":
        statistic = _row(STATISTICS, "statistic", projection, name)
        return Readout(None, statistic, scale, READOUTS[projection].higher_is_better)
    return Readout(
        _row(ANCHORS, "anchor", anchor, name),
        _row(PROJECTIONS, "projection", projection, name),
        scale,
        higher_is_better=anchor in ("uniform", "prior"),
    )


def _row(table: dict[str, Any], kind: str, key: str, name: str) -> Any:
    if key not in table:
        raise ValueError(
            f"readouts: {kind} must be one of {', '.join(table)}, got {key!r} in {name!r}"
        )
    return table[key]


def _name(function: object) -> str:
    function = getattr(function, "func", function)
    return getattr(function, "__name__", repr(function))


def _grid(anchor: str, projection: str, normalization: str, better: str, source: str) -> Readout:
    return Readout(
        ANCHORS[anchor],
        PROJECTIONS[projection],
        NORMALIZATIONS[normalization],
        better == "higher",
        source,
    )


def _statistic(name: str, better: str, source: str) -> Readout:
    return Readout(None, STATISTICS[name], none, better == "higher", source)


READOUTS: dict[str, Readout] = {
    # The mean of the norms: the better ranker across architectures (docs/readouts.md).
    "sample_gradient": _grid("prior", "gradient", "feature", "higher", "after 2601.16874"),
    "covariance_gradient": _grid(
        "prior", "centred_batch_gradient", "centred_feature", "higher", "after 2601.16874"
    ),
    "head_gradient": _grid("pseudo", "batch_gradient", "feature", "lower", "2601.16874"),
    # Published for trained networks with either sign; after brief training higher is better.
    "gd_score": _grid("gd_score", "quasinorm_batch_gradient", "none", "higher", "2401.08909"),
    "gradnorm_ood": _grid("uniform", "ood_gradient", "none", "higher", "2110.00218"),
    "gwa": _grid("pseudo", "gwa", "none", "higher", "NeurIPS 2025, hlzl/gwa"),
    "mutual_information": _grid("prior", "divergence", "none", "higher", "2208.07360"),
    "entropy": _statistic("entropy", "lower", "2601.16874 v2"),
    "confidence": _statistic("confidence", "higher", "2601.16874 v2"),
    "margin": _statistic("margin", "higher", "2601.16874 v2"),
    "nuclear": _statistic("nuclear", "higher", "ICML 2023, Deng et al."),
    "softmax_corr": _statistic("softmax_corr", "higher", "2406.09908"),
    "mano": _statistic("mano", "higher", "2405.18979"),
    "cot": _statistic("cot", "lower", "2305.15640"),
    "energy": _statistic("energy", "higher", "ICLR 2024, Peng et al."),
    "mde": _statistic("mde", "higher", "ICLR 2024, Peng et al."),
    "dispersion": _statistic("dispersion", "higher", "2303.15488"),
    "separation": _statistic("separation", "higher", "after 2303.15488"),
    "rankme": _statistic("rankme", "higher", "2210.02885"),
}
