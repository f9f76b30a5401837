"""Of a ranking: what a report shows of it."""

from __future__ import annotations

import math

from prescreen.ranking import Ranking, Row
from prescreen.ranking.replay import HALVED
from prescreen.report.data import FLOPS, LATENCY, PARAMETERS, PRUNED, Entry, Findings

_FEW = 3
# Of how many candidates, the best ones, it is asked what would change their places: each answer looks at
# all candidates.
_MOST, _WORTH = 100, 100_000


def of_ranking(ranking: Ranking, title: str = "Ranking") -> Findings:
    """What a report shows of a ranking."""
    asked = _WORTH // max(len(ranking), 1)
    return Findings(
        title=title,
        entries=tuple(
            _entry(row, _changes(ranking, row) if at < min(asked, _MOST) else ())
            for at, row in enumerate(row for row in ranking if not row.measured_as)
        ),
        measures=ranking.readouts,
        left_out={name: _why(ranking, name) for name in ranking.left_out},
        seeds=ranking.seeds,
        notes=ranking.notes,
    )


def _changes(ranking: Ranking, row: Row) -> tuple[str, ...]:
    known = row.rank is not None and row.status != HALVED and ranking.compared is not None
    return ranking.explain(row.name).changes if known else ()


def _entry(row: Row, changes: tuple[str, ...]) -> Entry:
    read = row.trajectory.readings
    last = read[-1] if read else None
    halved = row.status == HALVED
    return Entry(
        name=row.name,
        rank=None if halved else row.rank,  # it has no score beside those that went on
        score=row.score,
        low=row.score_low,
        high=row.score_high,
        tied=row.tied,
        status=PRUNED if halved else row.status,
        reason=row.reason,
        changes=changes,
        values=row.values,
        trajectory=row.trajectory,
        seconds=row.seconds,
        overhead=math.nan if last is None else last.overhead,
        costs=costs_in(row.values, row.parameters),
        config=row.config,
    )


def costs_in(values: object, parameters: int) -> dict[str, float]:
    """Capacity that is known of a candidate."""
    found = {PARAMETERS: float(parameters)} if parameters else {}
    for name in (FLOPS, LATENCY):
        value = values.get(name, math.nan) if hasattr(values, "get") else math.nan
        if math.isfinite(value) and value > 0:
            found[name] = float(value)
    return found


def _why(ranking: Ranking, name: str) -> str:
    good = [row for row in ranking if row.rank is not None and row.status != HALVED]
    lacking = [row.name for row in good if math.isnan(row.values.get(name, math.nan))]
    if not lacking:
        return "not defined for all candidates with every seed"
    more = f" and {len(lacking) - _FEW} more" if len(lacking) > _FEW else ""
    return f"not defined for {len(lacking)} of {len(good)}: {', '.join(lacking[:_FEW])}{more}"
