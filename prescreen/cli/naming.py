"""Naming: which candidate of a run a command line means."""

from __future__ import annotations

from difflib import get_close_matches

from prescreen.ranking.report import Ranking
from prescreen.text import shortened

_NAMED = 3


def name_of(candidate: str, ranking: Ranking, unfinished: tuple[str, ...] = ()) -> str:
    """The name of the candidate that is meant.

    Args:
        candidate: its name, the beginning of one name alone, or its rank, such as ``"#3"``.
        ranking: that it should be in.
        unfinished: names of candidates that are not in it yet.

    Raises:
        ValueError: none is meant, or several are.
    """
    names = [row.name for row in ranking]
    if candidate in names:
        return candidate
    ranked = [row for row in ranking if row.rank is not None and not row.measured_as]
    by_rank = {f"#{row.rank}": row.name for row in ranked}
    if candidate in by_rank:
        return by_rank[candidate]
    begins = [name for name in names if candidate and name.startswith(candidate)]
    if len(begins) == 1:
        return begins[0]
    if any(candidate and name.startswith(candidate) for name in unfinished):
        raise ValueError(f"`candidate` must be one that is done, got {candidate!r:.100}")
    if begins:
        allowed = f"one alone of the {len(begins)} that begin so ({_listed(begins)})"
    elif close := get_close_matches(candidate, names, _NAMED):
        allowed = f"a name, the beginning of one, or a rank such as #1, perhaps {_listed(close)}"
    else:
        allowed = f"a name, the beginning of one, or a rank from #1 to #{len(by_rank)}"
    raise ValueError(f"`candidate` must be {allowed}, got {candidate!r:.100}")


def _listed(names: list[str]) -> str:
    return ", ".join(shortened(name, 60) for name in names[:_NAMED])
