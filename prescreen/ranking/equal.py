"""Equal: candidates that compute the same are measured once and listed together."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from prescreen.ranking.continued import failure_stands
from prescreen.ranking.formed import Formed
from prescreen.ranking.repeats import Repeat
from prescreen.ranking.replay import Record
from prescreen.ranking.report import Ranking
from prescreen.ranking.row import Row
from prescreen.spaces.candidate import Candidate

Forms = Mapping[str, Formed]
Records = Mapping[str, Record]


def stand_ins(
    candidates: Sequence[Candidate],
    forms: Forms,
    records: Records,
    seeds: int,
    most: float | None = None,
) -> dict[str, Candidate]:
    """The candidates that need not be measured, by their keys, and which one is in their place.

    Of those that compute the same that is the one of which most has been measured; then the one with the
    fewest parameters, since others have some that do nothing; then the first.

    Args:
        candidates: in their order.
        forms: what they compute, by their keys.
        records: of the trainings that need not be measured again.
        seeds: how often each candidate is trained.
        most: parameters of a candidate that is not above a limit; None for no limit.
    """
    groups: defaultdict[str, list[Candidate]] = defaultdict(list)
    for one in candidates:
        form = forms[one.key].form if one.key in forms else None
        if form is not None and form.digest and form.parameters <= (most or math.inf):
            groups[form.digest].append(one)
    found: dict[str, Candidate] = {}
    for group in groups.values():
        done = {one.key: _done(one, records, seeds) for one in group}
        first = max(group, key=lambda one: (done[one.key], -forms[one.key].form.parameters))
        found |= {one.key: first for one in group if one is not first and done[one.key] < seeds}
    return found


def with_those(records: Records, instead: Mapping[str, Candidate], seeds: int) -> dict[str, Record]:
    """Records in which candidates that were not measured have those of the ones in their place."""
    found = dict(records)
    for key, one in instead.items():
        for number in range(seeds):
            measured = records.get(Repeat(one, number).key)
            if measured is not None:
                found[Repeat.key_of(key, number)] = measured
    return found


def listed(
    ranking: Ranking,
    instead: Mapping[str, Candidate],
    candidates: Iterable[Candidate],
    forms: Forms,
) -> Ranking:
    """A ranking of what was measured, with the other candidates beside those in their place.

    Args:
        ranking: of the measured ones.
        instead: the candidates that were not measured, by their keys, and which one is in their place.
        candidates: all, in their order.
        forms: what they compute, by their keys.
    """
    others: defaultdict[str, list[Candidate]] = defaultdict(list)
    for one in candidates:
        if one.key in instead:
            others[instead[one.key].name].append(one)
    rows = [
        row for measured in ranking for row in _together(measured, others[measured.name], forms)
    ]
    count = len(rows) - len(ranking)
    if not count:
        return ranking
    are = "candidate computes" if count == 1 else "candidates compute"
    note = f"{count} {are} the same as another one, whose measurements stand for both."
    return replace(ranking, rows=tuple(rows), notes=(*ranking.notes, note))


def _together(measured: Row, others: Sequence[Candidate], forms: Forms) -> list[Row]:
    names = tuple(one.name for one in others)
    return [
        replace(measured, also=names),
        *(
            replace(
                measured,
                name=one.name,
                config=one.config,
                parameters=forms[one.key].form.parameters,
                measured_as=measured.name,
                seconds=0.0,
            )
            for one in others
        ),
    ]


def _done(one: Candidate, records: Records, seeds: int) -> int:
    own = (records.get(Repeat(one, number).key) for number in range(seeds))
    return sum(record is not None and record.done and _stands(record) for record in own)


def _stands(record: Record) -> bool:
    """Whether a run that is continued does not measure it again."""
    return not record.failed or failure_stands(record)
