"""The grid anchor × projection × normalization: how readouts of the head are composed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from prescreen.captured import Capture
from prescreen.checks import require_one_of
from prescreen.predictions import Predictions
from prescreen.readouts.anchors import ANCHORS, Anchor
from prescreen.readouts.normalizations import NORMALIZATIONS, Normalization
from prescreen.readouts.projections import PROJECTIONS, Projection
from prescreen.readouts.readout import Need, Readout

# Anchors that are predictions of another capture or reading.
_OTHERS: dict[str, tuple[Need, ...]] = {"view": ("view",), "before": ("before",)}
# These anchors carry no information: far from them is good. Near is good for the others.
_FAR_IS_GOOD = ("uniform", "prior")
# These projections grow with nearness.
_SIMILARITIES = ("agreement",)


def compose(
    anchor: str | Anchor,
    projection: str,
    normalization: str = "none",
    *,
    higher_is_better: bool | None = None,
    reference: str = "",
) -> Readout:
    """A readout of the grid.

    Args:
        anchor: a name in ``ANCHORS``, or an anchor such as ``labels(y)`` or ``teacher(q)``.
        projection: a name in ``PROJECTIONS``.
        normalization: a name in ``NORMALIZATIONS``.
        higher_is_better: which way is good; by default higher for the anchors ``uniform`` and
            ``prior``, lower for the others, and for the projection ``agreement`` the other way round.
        reference: where it was published.

    Raises:
        ValueError: there is no such anchor, projection or normalization.
    """
    named = anchor if isinstance(anchor, str) else ""
    function = partial(
        _grid_values,
        anchor=_row(ANCHORS, "anchor", named) if isinstance(anchor, str) else anchor,
        projection=_row(PROJECTIONS, "projection", projection),
        normalization=_row(NORMALIZATIONS, "normalization", normalization),
    )
    far = named in _FAR_IS_GOOD
    better = far != (projection in _SIMILARITIES) if higher_is_better is None else higher_is_better
    return Readout(function, ("head", *_OTHERS.get(named, ())), better, reference)


def normalized(readout: Readout, normalization: str = "none") -> Readout:
    """A readout of the head, divided by a normalization to the power of its degree.

    Args:
        readout: needs the head alone.
        normalization: a name in ``NORMALIZATIONS``.

    Raises:
        ValueError: there is no such normalization.
    """
    function = partial(
        _normalized_values,
        projection=readout.function,
        normalization=_row(NORMALIZATIONS, "normalization", normalization),
        degree=readout.degree,
    )
    return replace(readout, function=function)


def _grid_values(
    capture: Capture,
    *others: Predictions,
    anchor: Anchor,
    projection: Projection,
    normalization: Normalization,
) -> Tensor:
    return projection(capture, anchor(capture, *others)) / normalization(capture)


def _normalized_values(
    capture: Capture,
    *,
    projection: Callable[[Capture], Tensor | float],
    normalization: Normalization,
    degree: int,
) -> Tensor | float:
    return projection(capture) / normalization(capture) ** degree


def _row(table: dict[str, Any], kind: str, key: str) -> Any:
    require_one_of(kind, key, table)
    return table[key]
