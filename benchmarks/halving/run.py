"""Does a ranking with halving have the first five of a ranking without it, and at which cost?

    python -m benchmarks.halving.run --recordings RECORDINGS --truths TRUTHS --early EARLY
    python -m benchmarks.halving.run ... --report        # the candidates that are reported on

Searches over random candidates of a space, without replacement, are replayed from recorded brief
trainings, by the package's own comparison and rungs. Only candidates for tuning count, unless --report
is given. RECORDINGS is the folder of `architectures.record`, EARLY that of `early`, for spaces that were
recorded at quarters of the budget, and OTHERS one of recordings with seed 1.

same: searches in which the first five of both rankings are the same set. five: how many of the first
five they have in common. regret: accuracy of the truly best candidate less that of the first, in
points; without: the same without halving. steps: optimizer steps as a share of a ranking of all.
seconds: CPU seconds of trainings and readings likewise; a ranking of all has 4 readings, one with
a rung at an eighth up to 8.

The rows in brackets say what the full budget itself is worth: the first five by readings on one half
of the probe against the other half, of all candidates at seven eighths or three quarters of the budget
against the end, and with another seed, where that was recorded.
"""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.architectures.spaces import SPACES
from benchmarks.common.options import command, need
from benchmarks.halving.recorded import PANEL, Recorded, chosen, of_space
from prescreen.ranking import Halving
from prescreen.ranking.halving import READINGS
from prescreen.ranking.order import best_first, order
from prescreen.ranking.replay import Record
from prescreen.ranks import Floats
from prescreen.text import plain_table

FIRST = 5
SIZES = (10, 16, 32, 64)
HEADER = ["", "same %", "five", "regret", "without", "steps %", "seconds %"]
SCHEDULES = {
    "1/4: 3/16, 1/2: 1/16": Halving(),
    "the same, at least 5": Halving(least=FIRST),
    "1/4: 1/8": Halving({1 / 4: 1 / 8}),
    "1/4: 1/4, 1/2: 1/24": Halving({1 / 4: 1 / 4, 1 / 2: 1 / 24}),
    "1/8: 1/2, 1/4: 1/4, 1/2: 1/8": Halving({1 / 8: 1 / 2, 1 / 4: 1 / 4, 1 / 2: 1 / 8}),
    "1/8: 3/8, 1/4: 3/16": Halving({1 / 8: 3 / 8, 1 / 4: 3 / 16}),
    "1/8: 1/4": Halving({1 / 8: 1 / 4}),
    "1/4: 1/2, 1/2: 1/4": Halving({1 / 4: 1 / 2, 1 / 2: 1 / 4}),
    "1/2: 1/2": Halving({1 / 2: 1 / 2}),
    "3/4: 1/2": Halving({3 / 4: 1 / 2}),
}


def main() -> None:
    """Print a table for every space and size."""
    options = {"recordings": Path("prescreen-runs/recordings"), "truths": Path, "early": Path}
    options |= {"others": Path, "report": False, "spaces": [*SPACES], "sizes": [*SIZES]}
    options |= {"searches": 200, "seed": 0, "margin": False}
    args = command(__doc__, **options).parse_args()
    args.do = "run"
    need(args, "truths")
    means: dict[str, list[Floats]] = {}
    for space in args.spaces:
        found = of_space(space, args)
        count = len(found.candidates)
        sizes = [size for size in args.sizes if FIRST < size < count]
        for size in [one for one in sizes if one >= 16] or sizes:
            print(f"\n{space}: {args.searches} searches over {size} of {count} candidates")
            rows = replayed(space, found, size, args)
            lines = [_cells(name, row) for name, row in rows.items()]
            print(plain_table(HEADER, lines), flush=True)
            for name, row in rows.items():
                means.setdefault(name, []).append(row)
    if len(means) > 1:
        worst = [
            [name, str(len(rows)), *("" if one != one else f"{one:.2f}" for one in _over(rows))]
            for name, rows in means.items()
        ]
        header = [
            "",
            "tables",
            "mean same %",
            "worst",
            "mean five",
            "regret",
            "without",
            "steps %",
            "seconds %",
        ]
        print(f"\nover all tables\n{plain_table(header, worst)}")


def replayed(space: str, found: Recorded, size: int, args: Namespace) -> dict[str, Floats]:
    """Means over searches of the columns of the table, by row."""
    generator = np.random.default_rng(args.seed)
    count = len(found.candidates)
    searches = [generator.permutation(count)[:size].tolist() for _ in range(args.searches)]
    whole = [first(found, members, found.records) for members in searches]
    seen: dict[str, list[list[float]]] = {}
    for members, full in zip(searches, whole, strict=True):
        for name, halving in SCHEDULES.items():
            spent = halved(found, members, halving)
            seen.setdefault(name, []).append(compared(found, members, spent, full))
        if args.margin:
            spent = halved(found, members, Halving(), margin=True)
            seen.setdefault("the first, and all not told apart", []).append(
                compared(found, members, spent, full)
            )
        for name, other in noise(space, found, members, args).items():
            seen.setdefault(f"({name})", []).append(
                [_same(*other), _common(*other), math.nan, math.nan, math.nan, math.nan]
            )
    return {name: np.mean(rows, axis=0) for name, rows in seen.items()}


@dataclass(frozen=True)
class Spent:
    """The places of a ranking with halving, and its steps and seconds as shares of one without."""

    places: list[int]
    steps: float
    seconds: float


def first(found: Recorded, members: Sequence[int], records: Mapping[str, Record]) -> list[int]:
    """Members in their order by their last readings."""
    return [members[place] for place in best_first(chosen(found, members), records, PANEL)]


def halved(
    found: Recorded, members: Sequence[int], halving: Halving, *, margin: bool = False
) -> Spent:
    """The ranking of some candidates with halving."""
    live, ended = [*members], list[int]()
    reached = dict.fromkeys(members, found.steps)
    for share, kept in halving.rungs.items():
        cut = {found.candidates[one].key: _until(found, one, share) for one in live}
        places = first(found, live, cut)
        going_on = halving.going_on(kept, len(members))
        if margin:
            going_on = max(going_on, not_told_apart(found, live, cut, going_on))
        for one in places[going_on:]:
            reached[one] = cut[found.candidates[one].key].trajectory.last.step
        ended = places[going_on:] + ended
        live = [one for one in live if one in places[:going_on]]
    spent = np.array([reached[one] / found.steps for one in members])
    seconds, reading = found.seconds[[*members]], found.reading[[*members]]
    took = spent * seconds + np.ceil(spent * halving.readings) * reading
    return Spent(
        first(found, live, found.records) + ended,
        float(spent.mean()),
        float(took.sum() / (seconds + READINGS * reading).sum()),
    )


def not_told_apart(
    found: Recorded, live: Sequence[int], cut: Mapping[str, Record], going_on: int
) -> int:
    """How many scores have intervals that reach that of the last one that goes on."""
    rows = order(chosen(found, live), cut, PANEL).rows
    if going_on >= len(rows):
        return len(rows)
    bound = rows[going_on - 1].score
    return max(place for place, row in enumerate(rows, start=1) if row.score_high >= bound)


def _until(found: Recorded, one: int, share: float) -> Record:
    record = found.records[found.candidates[one].key]
    steps = [reading.step for reading in record.trajectory]
    return record.cut(
        1 + next(n for n, step in enumerate(steps) if step >= share * found.steps - 1e-9)
    )


def noise(
    space: str, found: Recorded, members: Sequence[int], args: Namespace
) -> dict[str, tuple[list[int], list[int]]]:
    """Pairs of orders that would be the same if the full budget told all."""
    full = first(found, members, found.records)
    one, other = (first(found, members, half) for half in found.halves)
    pairs = {"halves of the probe": (one, other)}
    for name, share in (("7/8 of the budget", 7 / 8), ("3/4 of the budget", 3 / 4)):
        cut = {found.candidates[one].key: _until(found, one, share) for one in members}
        if all(one.trajectory.last.step < found.steps for one in cut.values()):
            pairs[name] = first(found, members, cut), full
    again = _other(space, args)
    if again is not None and all(found.candidates[one].key in again.records for one in members):
        pairs["another seed"] = first(found, members, again.records), full
    return pairs


_OTHERS: dict[str, Recorded] = {}


def _other(space: str, args: Namespace) -> Recorded | None:
    if args.others is None or not (args.others / space).is_dir():
        return None
    if space not in _OTHERS:
        _OTHERS[space] = of_space(space, args, seed=1)
    return _OTHERS[space]


def compared(found: Recorded, members: Sequence[int], one: Spent, full: list[int]) -> list[float]:
    """The columns of the table for one search."""
    best = found.truth[[*members]].max()
    regrets = (float(best - found.truth[places[0]]) for places in (one.places, full))
    return [_same(one.places, full), _common(one.places, full), *regrets, one.steps, one.seconds]


def _same(one: Sequence[int], other: Sequence[int]) -> float:
    return float(set(one[:FIRST]) == set(other[:FIRST]))


def _common(one: Sequence[int], other: Sequence[int]) -> float:
    return len({*one[:FIRST]} & {*other[:FIRST]})


_FORMS: tuple[Callable[[float], str], ...] = (
    lambda share: f"{100 * share:.0f}",
    lambda count: f"{count:.1f}",
    *2 * (lambda points: f"{points:.2f}",),
    *2 * (lambda share: f"{100 * share:.0f}",),
)


def _cells(name: str, row: Floats) -> list[str]:
    shown = zip(_FORMS, row.tolist(), strict=True)
    return [name, *("" if math.isnan(one) else form(one) for form, one in shown)]


def _over(rows: Sequence[Floats]) -> list[float]:
    table = np.array(rows)
    same, five, *regrets, steps, seconds = table.T
    means = [float(one.mean()) for one in (five, *regrets, 100 * steps, 100 * seconds)]
    return [100 * float(same.mean()), 100 * float(same.min()), *means]


if __name__ == "__main__":
    main()
