"""Reading: what panels name, and the readouts of a model as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from prescreen.captured import Link
from prescreen.heads.capturing import capture
from prescreen.panel import DEFAULT_PANEL
from prescreen.readouts import Readout, get_readout
from prescreen.readouts.network import UNTRAINED, Untrained

Measure = Readout | Untrained
Readouts = Sequence[str] | Mapping[str, Measure]


def read(
    model: nn.Module,
    inputs: Any,
    readouts: Readouts = DEFAULT_PANEL,
    *,
    head: str | None = None,
    link: Link = "softmax",
    batch_statistics: bool = True,
) -> dict[str, float]:
    """Read a model's prediction head on unlabelled inputs; the model is left exactly as it was.

    Args:
        model: any module with a linear or convolution head.
        inputs: what the model takes: a tensor, a tuple of arguments or a dict of keywords.
        readouts: names (see ``READOUTS``), grid points such as ``"prior/gradient/feature"``, or a
            mapping from names of your own to ``Readout``.
        head: dotted name of the head, where it cannot be found.
        link: how logits become predictions.
        batch_statistics: let BatchNorm use the batch's own statistics. Right while training is
            brief; for checkpoints of a long run choose False.

    Returns:
        Readout name to value.

    Raises:
        ValueError: an unknown readout or head, inputs that the model cannot take, or a measure of
            the untrained network, which this one need not be.
    """
    of_network, of_head = split(resolve_readouts(readouts))
    if of_network:
        raise ValueError(
            f"readouts: {', '.join(of_network)} of an untrained network are not read from a head; "
            "rank and screen measure them"
        )
    taken = capture(model, inputs, head=head, link=link, batch_statistics=batch_statistics)
    return {name: readout(taken) for name, readout in of_head.items()}


def resolve_readouts(readouts: Readouts) -> dict[str, Measure]:
    """Names to readouts, and to measures of the untrained network.

    Raises:
        ValueError: a name is unknown, given twice, or there is none.
    """
    require_names(readouts)
    if isinstance(readouts, Mapping):
        return dict(readouts)
    return {name: UNTRAINED[name] if name in UNTRAINED else get_readout(name) for name in readouts}


def require_names(readouts: Sequence[str] | Mapping[str, Any]) -> None:
    """Refuse names that are none, not distinct or a single string.

    Raises:
        ValueError: as said.
    """
    if isinstance(readouts, str):
        raise ValueError(f"readouts: a sequence of names is needed, got the string {readouts!r}")
    if len(set(readouts)) != len(readouts) or not readouts:
        raise ValueError(f"readouts: distinct names, at least one, are needed, got {[*readouts]}")


def split(table: Mapping[str, Measure]) -> tuple[dict[str, Untrained], dict[str, Readout]]:
    """The measures of the untrained network, and the readouts of the head."""
    of_network = {name: one for name, one in table.items() if isinstance(one, Untrained)}
    of_head = {name: one for name, one in table.items() if not isinstance(one, Untrained)}
    return of_network, of_head
