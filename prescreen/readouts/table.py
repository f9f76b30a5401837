"""The table of readouts, and how their names are resolved."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from functools import lru_cache, partial
from typing import cast

import torch
from torch import Tensor

from prescreen.checks import require, require_one_of
from prescreen.readouts.grid import compose, normalized
from prescreen.readouts.held_out import HELD_OUT_LOSS, HeldOutLoss, held_out_loss
from prescreen.readouts.network import MEASURES
from prescreen.readouts.others import OTHERS
from prescreen.readouts.pairs import PAIRS, gap
from prescreen.readouts.readout import Readout
from prescreen.readouts.statistics import STATISTICS, Statistic

Readouts = Sequence[str] | Mapping[str, Readout]

_GAP = "gap/"
AHEAD = "ahead/"


def _grid(point: str, better: str, source: str) -> Readout:
    return compose(*point.split("/"), higher_is_better=better == "higher", reference=source)


class _Statistics(Mapping[str, Readout]):
    """The rows of ``STATISTICS`` as they are now, as readouts."""

    def __getitem__(self, name: str) -> Readout:
        return _of_statistic(STATISTICS[name])

    def __iter__(self) -> Iterator[str]:
        return iter(STATISTICS)

    def __len__(self) -> int:
        return len(STATISTICS)


@lru_cache  # the same readout every time
def _of_statistic(row: Statistic) -> Readout:
    return Readout(row.function, ("head",), row.better == "higher", row.reference, row.degree)


_POINTS: dict[str, Readout] = {
    # The mean of the norms ranks better across architectures (docs/readouts.md).
    "sample_gradient": _grid("prior/gradient/feature", "higher", "after 2601.16874"),
    "covariance_gradient": _grid(
        "prior/centred_batch_gradient/centred_feature", "higher", "after 2601.16874"
    ),
    "head_gradient": _grid("pseudo/batch_gradient/feature", "lower", "2601.16874"),
    # Published for trained networks with either sign; after brief training higher is better.
    "gd_score": _grid("gd_score/quasinorm_batch_gradient/none", "higher", "2401.08909"),
    "gradnorm_ood": _grid("uniform/ood_gradient/none", "higher", "2110.00218"),
    "gwa": _grid("pseudo/gwa/none", "higher", "NeurIPS 2025, hlzl/gwa"),
    "sharpness_first_order": _grid("pseudo/sharpness/none", "lower", "after 2010.01412"),
    "mutual_information": _grid("prior/divergence/none", "higher", "2208.07360"),
}


class _Table(ChainMap[str, Readout]):
    def __repr__(self) -> str:
        return f"{len(self)} readouts: {', '.join(self)}"


# Rows that are added to one of these tables later are there at once. A chain lists its last map first;
# what is added to the chain itself goes to the first and comes before equal names.
READOUTS: MutableMapping[str, Readout] = _Table(
    {}, PAIRS, MEASURES, cast("dict[str, Readout]", _Statistics()), _POINTS
)


def get_readout(name: str, targets: Tensor | None = None) -> Readout:
    """A readout by its name, by ``"gap/NAME"`` or ``"ahead/NAME"``, or by its place in the grid.

    ``"gap/NAME"`` is how much better a readout of the head is on seen inputs than on unseen ones,
    ``"ahead/NAME"`` what a readout is expected to be after half as much training
    again: see ``extrapolated``.
    ``"PART:NAME"`` is a readout of one part of a model, such as ``"boxes:rankme"``: see `Part`.
    ``"anchor/projection/normalization"``, such as ``"prior/gradient/feature"``, composes a readout of
    the head: see `compose`. With the anchor ``none`` it is a statistic, or another readout of the head,
    that is divided by a normalization. ``"training_loss"`` and ``"committee/agreement"`` are those of
    ``OTHERS``.

    Args:
        name: as above.
        targets: for ``"held_out_loss"``, as a `HeldOutLoss` takes them.

    Raises:
        ValueError: there is no such readout, anchor, projection or normalization.
    """
    for table in (READOUTS, OTHERS):
        if name in table:
            return table[name]
    if name == HELD_OUT_LOSS:
        known = "of a task whose targets are known without annotation"
        require("readouts", known, name, targets is not None)
        return held_out_loss(cast("Tensor", targets))
    part, colon, of_part = name.partition(":")
    if colon:
        return replace(_of_head(of_part, f"{part}:", name, targets), part=part)
    if name.startswith(AHEAD):
        return replace(_of_head(name.removeprefix(AHEAD), AHEAD, name, targets), ahead=True)
    if name.startswith(_GAP):
        readout = get_readout(name.removeprefix(_GAP), targets)
        if readout.needs != ("head",):
            raise ValueError(f"`readouts` must name a readout of the head after gap/, got {name!r}")
        of_probe = isinstance(readout.function, HeldOutLoss)
        require("readouts", "without gap/ where targets are those of the probe", name, not of_probe)
        return Readout(partial(gap, readout=readout), ("head", "seen"), higher_is_better=False)
    if name.count("/") != 2:
        close = get_close_matches(name, [*READOUTS, *OTHERS]) or list(READOUTS)
        raise ValueError(
            f"`readouts` must be {', '.join(close)} or anchor/projection/normalization, got {name!r}"
        )
    anchor, projection, normalization = name.split("/")
    try:
        if anchor == "none":
            of_head = [n for n, one in READOUTS.items() if one.needs == ("head",)]
            require_one_of("statistic", projection, of_head)
            return normalized(READOUTS[projection], normalization)
        return compose(anchor, projection, normalization)
    except ValueError as error:
        raise ValueError(f"`readouts` must have known parts, got {name!r}: {error}") from None


def _of_head(name: str, prefix: str, whole: str, targets: Tensor | None) -> Readout:
    readout = get_readout(name, targets)
    if readout.part or {"network", "losses", "others"} & set(readout.needs):
        raise ValueError(f"`readouts` must name one of the head after {prefix}, got {whole!r}")
    return readout


def resolve_readouts(readouts: Readouts, targets: Tensor | None = None) -> dict[str, Readout]:
    """Readouts by name, found by `get_readout`; a mapping is copied as it is.

    Args:
        readouts: names, or a mapping.
        targets: what is known of the probe without annotation, as a `HeldOutLoss` takes it.

    Raises:
        ValueError: a name is unknown or given twice, there are none, or a value is not a Readout.
    """
    if isinstance(readouts, str):
        raise ValueError(f"`readouts` must be a sequence of names, got the string {readouts!r}")
    if len(set(readouts)) != len(readouts) or not readouts:
        raise ValueError(f"`readouts` must be distinct names, at least one, got {[*readouts]}")
    if not isinstance(readouts, Mapping):
        return {name: get_readout(name, targets) for name in readouts}
    for name, readout in readouts.items():
        if not isinstance(readout, Readout):
            raise ValueError(
                f"`readouts` must map names to Readouts, got {type(readout).__name__} for {name!r}"
            )
    return dict(readouts)


def to_compare(readouts: Readouts) -> dict[str, Readout]:
    """Readouts whose values are compared here, and read where their targets are known.

    Raises:
        ValueError: as by `resolve_readouts`.
    """
    return resolve_readouts(readouts, torch.empty(0))
