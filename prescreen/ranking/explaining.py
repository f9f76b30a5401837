"""Explaining: a candidate's place in each measure, and what would change its place in the ranking.

What would change it is not estimated: the comparison that gave the ranking is asked again, without a
readout, or with another value of the candidate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Any

import numpy as np

from prescreen.failures import UNSURE
from prescreen.ranking.compared import Compared
from prescreen.ranking.explanation import Explanation, Neighbour
from prescreen.ranking.replay import HALVED
from prescreen.ranking.row import Row
from prescreen.ranks import Floats, ranks
from prescreen.text import ordinal, shortened

# Of draws: two neighbours that swap as often are not told apart at the 95 % level.
_UNTOLD = 0.025
_LONGEST_NAME = 60


def explain(
    rows: Sequence[Row], compared: Compared | None, name: str, seeds: int = 1
) -> Explanation:
    """The explanation of one candidate of a ranking.

    Args:
        rows: of the ranking, best first.
        compared: what its scores were computed from.
        name: of the candidate.
        seeds: how often each was trained.

    Raises:
        ValueError: there is no such candidate, or the ranking was not made by ``rank``.
    """
    row = next((one for one in rows if one.name == name), None)
    if row is None:
        close = get_close_matches(str(name), [one.name for one in rows])
        hint = f"; did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise ValueError(f"`name` must be that of a candidate, got {name!r:.200}{hint}")
    if row.measured_as:
        found = explain(rows, compared, row.measured_as, seeds)
        return replace(found, name=row.name, measured_as=row.measured_as)
    rows = [one for one in rows if not one.measured_as]
    good = [one for one in rows if one.rank is not None and one.status != HALVED]
    if row.rank is None or row.status == HALVED:
        ranked = sum(one.rank is not None for one in rows)
        return _of(row, ranked, changes=tuple(_tried_again(row)))
    if compared is None:
        raise ValueError("the ranking must be one of `rank` to be explained, got one made by hand")
    at = compared.names.index(name)
    above, below = (_neighbour(row, good, place, compared) for place in (row.rank - 2, row.rank))
    place = _Place(compared, at)
    return _of(
        row,
        len(good),
        places={name: place.rank_in(name) for name in compared.panel.names},
        weights={name: float(own[at]) for name, own in compared.weights().items()},
        won=place.won(),
        left_out=compared.left_out,
        above=above,
        below=below,
        changes=(
            *place.without_each(),
            *(place.passing(above.name, up=True) if above else ()),
            *(place.passing(below.name, up=False) if below and not above else ()),
            *_noise(above, below, seeds),
        ),
    )


def _of(row: Row, of: int, **parts: Any) -> Explanation:
    kept = (
        "name",
        "rank",
        "score",
        "score_low",
        "score_high",
        "tied",
        "status",
        "reason",
        "values",
    )
    return Explanation(of=of, **{name: getattr(row, name) for name in kept}, **parts)


def _neighbour(row: Row, good: Sequence[Row], place: int, compared: Compared) -> Neighbour | None:
    if not 0 <= place < len(good):
        return None
    other = good[place]
    lower = max(row, other, key=lambda one: one.rank or 0)
    known = len(compared.ahead) > 0
    swapped = float(compared.ahead[compared.names.index(lower.name)]) if known else math.nan
    return Neighbour(other.name, abs(row.score - other.score), swapped)


def _tried_again(row: Row) -> Iterator[str]:
    if row.status in ("build", *UNSURE):
        yield "a run that is continued tries it again"
    elif row.status == "limit":
        yield "a run with a limit above that measures it"


def _noise(above: Neighbour | None, below: Neighbour | None, seeds: int) -> Iterator[str]:
    """What measuring more could change."""
    more = "more samples of the probe" + (" or seeds" if seeds > 1 else "")
    told = {"it above {}": above, "{} above it": below}
    for which, one in told.items():
        if one is not None and one.swapped > _UNTOLD:
            yield (
                f"{more} may put {which.format(_short(one.name))}: so it is in {one.swapped:.0%} of "
                "draws of what was measured"
            )
    if seeds == 1 and (above or below):
        yield "other seeds of the training may as well: one seed does not show its noise (--seeds 3)"


@dataclass(frozen=True)
class _Place:
    """The place of one candidate, and how the comparison answers if something were otherwise.

    Args:
        compared: the values of all.
        at: where the candidate is among them.
    """

    compared: Compared
    at: int

    @cached_property
    def mean(self) -> Floats:
        """Values of all candidates, a mean over seeds, shape (M, R)."""
        found: Floats = self.compared.values.mean(axis=0)
        return found

    def rank_in(self, name: str) -> int | None:
        """The candidate's rank by one readout alone; None if it has no value there."""
        column = self.mean[:, self.compared.panel.names.index(name)]
        own = column[self.at]
        return None if math.isnan(own) else 1 + int((column > own).sum())

    def won(self) -> dict[str, float]:
        """The share of pairs won in each readout that counts, a mean over seeds."""
        others = max(len(self.compared.names) - 1, 1)
        return {
            self.compared.panel.names[column]: float(
                np.mean([ranks(run[:, column])[self.at] - 1 for run in self.compared.values])
                / others
            )
            for column in self.compared.counted()
        }

    def without_each(self) -> Iterator[str]:
        """Which readouts its rank depends on."""
        counted = self.compared.counted()
        own = self._rank(self.compared.comparison().scores)
        for column in counted if len(counted) > 1 else ():
            name = self.compared.panel.names[column]
            rank = self._rank(self.compared.comparison(without=(name,)).scores)
            if rank != own:
                yield f"without `{name}` it would be {ordinal(rank)}"

    def passing(self, other: str, *, up: bool) -> Iterator[str]:
        """With which value of each readout it would be above the next candidate, or below it."""
        for column in self.compared.counted():
            bound = self._bound(column, self.compared.names.index(other), up=up)
            if bound is None:
                continue
            name = self.compared.panel.names[column]
            sign = 1 if self.compared.panel.higher_is_better[column] else -1
            side = "above" if (sign > 0) == up else "below"
            now = sign * float(self.mean[self.at, column])
            yield (
                f"{'above' if up else 'below'} {_short(other)} if `{name}` were {side} "
                f"{sign * bound:.4g} (it is {now:.4g})"
            )

    def _bound(self, column: int, other: int, *, up: bool) -> float | None:
        """The value of another candidate that this one must pass in a readout; None if none is enough.

        Scores depend on the order of values alone: it is enough to try one between any two.
        """
        sign = 1.0 if up else -1.0
        found = sign * self.compared.values[:, :, column]
        own = found[:, self.at].mean()
        bounds = np.unique(found[np.isfinite(found) & (found > own)])
        if not len(bounds) or not math.isfinite(own):
            return None
        between = np.append((bounds[1:] + bounds[:-1]) / 2, bounds[-1] + 1)

        def passes(number: int) -> bool:
            scores = self._with(column, sign * float(between[number]))
            return (self._rank(scores) < self._rank(scores, other)) == up

        low, high = 0, len(between) - 1
        if not passes(high):
            return None
        while low < high:
            middle = (low + high) // 2
            if passes(middle):
                high = middle
            else:
                low = middle + 1
        return sign * float(bounds[low])

    def _with(self, column: int, value: float) -> Floats:
        """The scores if the candidate, and all that share the value, had another one."""
        compared = self.compared
        same = compared.shared[:, column] == compared.shared[self.at, column]
        values = compared.values.copy()
        values[:, same, column] = value
        return compared.comparison(values).scores

    def _rank(self, scores: Floats, at: int | None = None) -> int:
        """Equal scores keep the order of the candidates."""
        at = self.at if at is None else at
        return 1 + int((scores > scores[at]).sum() + (scores[:at] == scores[at]).sum())


def _short(name: str) -> str:
    return f"`{shortened(name, _LONGEST_NAME)}`"
