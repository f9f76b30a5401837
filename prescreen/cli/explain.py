"""The command line's `explain`: why a candidate of a run is ranked where it is."""

from __future__ import annotations

import json
from dataclasses import asdict
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prescreen.cli.options import JSON
from prescreen.cli.output import note, show
from prescreen.text import finite, shortened

if TYPE_CHECKING:
    from prescreen.ranking.report import Ranking

_NAMED = 3


def explain_command(
    run: Annotated[Path, typer.Argument(help="Folder of a run, which may still go on.")],
    candidate: Annotated[
        str, typer.Argument(help="Its name, the beginning of it, or its rank: #3.")
    ] = "#1",
    as_json: Annotated[bool, JSON] = False,
) -> None:
    """Say why a candidate is ranked where it is, and what would change its place."""
    from prescreen.ranking.opened import open_run

    opened = open_run(run)
    found = opened.ranking.explain(name_of(candidate, opened.ranking, opened.unfinished))
    show(json.dumps(finite(asdict(found)), indent=2) if as_json else str(found))
    if opened.unfinished:
        note(f"{len(opened.unfinished)} candidates of the run are not done, and not compared")


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
    by_rank = {f"#{row.rank}": row.name for row in ranking if row.rank is not None}
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
