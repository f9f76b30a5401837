"""Opened: a run's folder looked at again, from its journal alone; no candidate's code is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import Any

from torch import nn

from prescreen.lines import Damaged
from prescreen.ranking.budget import rankable
from prescreen.ranking.content import Content
from prescreen.ranking.equal import listed, stand_ins, with_those
from prescreen.ranking.folder import JOURNAL
from prescreen.ranking.order import order
from prescreen.ranking.outline import Outline, outline_of, panel_of
from prescreen.ranking.repeats import Repeat
from prescreen.ranking.replay import Complete, Record
from prescreen.ranking.report import Ranking
from prescreen.reading import Trajectory
from prescreen.readouts import Readout
from prescreen.spaces.candidate import Candidate
from prescreen.text import first_line, printable, shortened

Records = Mapping[str, Record]


@dataclass(frozen=True)
class Run:
    """A run as its journal has it, perhaps while it still goes on.

    Args:
        folder: of the run.
        ranking: of the candidates that are done: what ``rank`` returned, if it did.
        settings: what two measurements must share to be the same: the versions of prescreen and torch,
            the task's name and fingerprint, training, readouts, readings, head, threads.
        unfinished: names of candidates that are not done: not begun yet, begun, or not trained with
            every seed.
        trajectories: readings of every candidate that was begun, one trajectory a seed.
        codes: what built each candidate: part to digest or version; empty if unknown.
        samples: how many the probe batch has; 0 if unknown.
        seeds: how often each candidate is to be trained; the ranking has fewer while some are not.
        given: other arguments of ``rank``, and the versions and machine of its latest call; empty if
            an earlier version wrote the journal.
        times: when the earliest and the latest training ended, in seconds since 1970; 0 if unknown.
        schema: of the journal.
    """

    folder: Path
    ranking: Ranking
    settings: Mapping[str, Any]
    unfinished: tuple[str, ...]
    trajectories: Mapping[str, tuple[Trajectory, ...]]
    codes: Mapping[str, Mapping[str, str]]
    samples: int
    seeds: int
    given: Mapping[str, Any]
    times: tuple[int, int]
    schema: int

    def __str__(self) -> str:
        left = shortened(", ".join(self.unfinished))
        return "\n".join([str(self.ranking), *([f"Not done: {printable(left)}"] if left else [])])


def open_run(folder: Path | str) -> Run:
    """Look at a run: finished, interrupted, or still going on. Nothing is written.

    The ranking is that of the latest call of ``rank`` in the folder, as far as it came. Candidates that
    are not done are left out, and so are seeds with which not all of the others are done.

    Args:
        folder: that was the ``out`` of ``rank``.

    Raises:
        ValueError: it holds no journal, or a damaged one.
    """
    folder = Path(folder)
    content = _content(folder / JOURNAL)
    settings = content.settings
    records, noted, forms = content.replay(None)
    outline = noted or outline_of(records, settings)
    _check(content, records, outline)
    readouts = panel_of(outline)
    candidates = [Candidate(one["name"], one["config"], _built) for one in outline.candidates]
    instead = stand_ins(candidates, forms, records, outline.seeds, _most(settings))
    times = [one.time for one in records.values() if one.done and one.time]
    records = with_those(records, instead, outline.seeds)
    trainings = {one: _begun(one, records, outline.seeds) for one in candidates}
    ranked, seeds = rankable(candidates, records, outline.seeds)
    measured = [one for one in ranked if one.key not in instead]
    ranking = order(measured, records, readouts, seeds=seeds, samples=outline.samples)
    ranking = listed(ranking, instead, candidates, forms)
    return Run(
        folder=folder,
        ranking=replace(ranking, notes=(*ranking.notes, *_notes(settings, readouts))),
        settings=settings,
        unfinished=tuple(
            one.name
            for one, own in trainings.items()
            if sum(record.done for record in own) < outline.seeds
        ),
        trajectories={
            one.name: tuple(record.trajectory for record in own)
            for one, own in trainings.items()
            if own
        },
        codes={
            one.name: forms[one.key].code if one.key in instead else own[0].code
            for one, own in trainings.items()
            if own
        },
        samples=outline.samples,
        seeds=outline.seeds,
        given=outline.given,
        times=(min(times, default=0), max(times, default=0)),
        schema=content.version,
    )


def _content(path: Path) -> Content:
    folder = str(path.parent)
    if not path.is_file():
        raise ValueError(f"`folder` must be that of a run, got {folder!r} without a {path.name}")
    try:
        content = Content.of(path, path.read_bytes(), "folder")
    except OSError as error:
        raise ValueError(
            f"`folder` must be one that can be read, got {folder!r} ({error.strerror})"
        ) from None
    if not content.version:
        raise ValueError(f"`folder` must hold a journal with a first line, got none in {path}")
    return content


def _check(content: Content, records: Records, outline: Outline) -> None:
    """Refuse what no run of these settings can have written."""
    beside = [name for name, one in outline.readouts.items() if "others" in one["needs"]]
    where = "its settings"
    try:
        complete = Complete.of(content.settings, beside)
        if unlike := set(outline.readouts) - set(content.settings["readouts"]):
            raise Damaged(f"other readouts, {', '.join(sorted(unlike))}")
        for key, record in records.items():
            where = key
            if record.status == "finished":
                complete.check(record.trajectory)
    except (Damaged, KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"`folder` must hold a journal of `rank`, got {first_line(error)} for {where:.200} in "
            f"{content.path}"
        ) from None


def _begun(candidate: Candidate, records: Records, seeds: int) -> list[Record]:
    """Of its trainings, from the first seed on."""
    keys = [Repeat(candidate, number).key for number in range(seeds)]
    return [records[key] for key in takewhile(records.__contains__, keys)]


def _most(settings: Mapping[str, Any]) -> float | None:
    """The parameters above which a candidate was not to be trained."""
    limits = settings.get("limits")
    most = limits.get("max_params") if isinstance(limits, dict) else None
    return most if isinstance(most, int | float) else None


def _notes(settings: Mapping[str, Any], readouts: Mapping[str, Readout]) -> tuple[str, ...]:
    unknown = ", ".join(name for name in settings["readouts"] if name not in readouts)
    if not unknown:
        return ()
    return (f"Not in the score, as an earlier version did not note which way is better: {unknown}",)


def _built() -> nn.Module:
    raise ValueError("a candidate must be built by its own code, got one of a run's folder")
