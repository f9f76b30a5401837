"""Parts: the probe batch without each of its parts, which shows how readouts vary with its samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from prescreen.readouts.readout import Readout, to_floats

# In how many parts a probe is divided: the degrees of freedom of an interval are one less.
PARTS = 8


def replicates(
    readouts: Mapping[str, Readout], subjects: Mapping[str, Any], samples: int
) -> dict[str, tuple[float, ...]]:
    """The readouts of the head on the probe batch without each of its parts.

    These are the replicates of the delete-a-group jackknife. Parts are the same for all models.

    Args:
        readouts: by name; those that need other subjects are left out.
        subjects: by need, as readouts take them. All but the seen inputs lose the same samples.
        samples: how many the probe batch has. If a model makes several predictions for each, their
            rows stay together.

    Returns:
        PARTS values a readout; NaN where it cannot be computed.

    Reference: Kott 2001, The delete-a-group jackknife.
    """
    wanted = {name: one for name, one in readouts.items() if subjects.keys() >= set(one.needs)}
    lefts = _each_left_out(subjects, samples) if wanted else ()
    values = to_floats([_value(one, left) for left in lefts for one in wanted.values()])
    count = len(wanted)
    return {name: tuple(values[number::count]) for number, name in enumerate(wanted)}


def part_of_rows(rows: int, samples: int) -> Tensor:
    """The part of each of some rows, shape (rows,).

    Samples are dealt out at random with a fixed seed. If it is not known which rows are of one sample,
    as with masks, parts are stretches of neighbours.
    """
    if rows % samples:
        return torch.arange(rows) * PARTS // rows
    order = torch.randperm(samples, generator=torch.Generator().manual_seed(0))
    return (order % PARTS).repeat_interleave(rows // samples)


def _each_left_out(subjects: Mapping[str, Any], samples: int) -> Iterator[dict[str, Any]]:
    rows = subjects["head"].num_samples
    parts = part_of_rows(rows, samples)
    for part in range(PARTS):
        kept = (parts != part).nonzero()[:, 0].to(subjects["head"].logits.device)
        yield {
            need: subject if need == "seen" else subject.at(kept)
            for need, subject in subjects.items()
        }


def _value(readout: Readout, subjects: Mapping[str, Any]) -> Tensor | float:
    try:
        return readout.lazily(*(subjects[need] for need in readout.needs))
    except Exception:  # such as one with a label for each sample: it has a value, but no interval
        return math.nan
