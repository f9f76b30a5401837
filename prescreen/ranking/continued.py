"""Continued: which candidates of an earlier run need not be measured again, and who is told."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime

from prescreen.failures import UNSURE
from prescreen.ranking.folder import ANEW
from prescreen.ranking.journal import Journal
from prescreen.ranking.repeats import Repeat, counted, repeats
from prescreen.ranking.replay import HALVED, Record
from prescreen.spaces.candidate import Candidate
from prescreen.spaces.code import Code

logger = logging.getLogger(__name__)

Codes = Mapping[str, Mapping[str, str]]


def codes_of(candidates: Sequence[Candidate], seeds: int) -> Codes:
    """What builds each candidate, by the keys of its trainings: part to digest or version."""
    code = Code()
    built = {one.key: code.of(one) for one in candidates}
    return {one.key: built[one.candidate.key] for one in repeats(candidates, seeds)}


def left_to_measure(
    candidates: Sequence[Repeat], journal: Journal, codes: Codes, *, halving: bool = False
) -> list[Repeat]:
    """The trainings whose record does not stand; what is taken over of an earlier run is logged.

    A failure to build or import is tried again, as what was missing may be there now, and so is one
    that may be the machine's doing. What halving ended only stands if it is asked for again.

    Raises:
        ValueError: a record that stands is that of other code.
    """
    records = journal.records
    known = [one for one in candidates if one.key in records]
    standing = [one for one in known if _stands(records[one.key], journal, halving)]
    _require_same_code(standing, journal, codes)
    if journal.unknown and known:
        names = f"{', '.join(journal.unknown)} and candidates' code"
        logger.warning(
            "%s does not say of which %s it is: taken as the same", journal.folder, names
        )
    if known:
        halved = sum(records[one.key].status == HALVED for one in known)
        ended = 0 if halving else halved
        again = sum(records[one.key].done for one in known) - len(standing) - ended
        # What is above a limit has not failed.
        fine = ("finished", HALVED, "limit")
        failed = sum(records[one.key].status not in fine for one in standing)
        _tell(journal, len(standing), candidates, failed, again, ended)
    left = {one.key for one in candidates} - {one.key for one in standing}
    return [one for one in candidates if one.key in left]


def _stands(record: Record, journal: Journal, halving: bool) -> bool:
    """Whether a record is taken over."""
    if record.status == HALVED and not halving:
        return False
    if record.status in ("finished", HALVED):
        # Only earlier versions did not note the code; else the line was removed by hand.
        return bool(record.code or journal.unknown)
    return failure_stands(record)


def failure_stands(record: Record) -> bool:
    """Whether a failure would not be tried again."""
    missing = record.reason.startswith(("ImportError:", "ModuleNotFoundError:"))
    return record.done and not missing and record.status not in ("build", *UNSURE)


def begun_anew(waiting: Sequence[Repeat], journal: Journal, codes: Codes) -> set[str]:
    """The keys of trainings that were begun, and whose failure or code does not let them go on."""
    records = journal.records
    known = [one.key for one in waiting if one.key in records]
    return {
        key for key in known if records[key].failed or unlike_code(records[key], codes.get(key, {}))
    }


def unlike_code(record: Record, now: Mapping[str, str]) -> list[tuple[str, str]]:
    """The parts of its code that are not as they were, and how they were.

    A part that is new beside others that are the same has not been part of what was measured.
    """
    return [(part, was) for part, was in record.code.items() if now.get(part) != was]


def _require_same_code(standing: Sequence[Repeat], journal: Journal, codes: Codes) -> None:
    for one in standing:
        now = codes.get(one.key, {})
        if unlike := unlike_code(journal.records[one.key], now):
            got = "; ".join(f"{part} {was} instead of {now.get(part)}" for part, was in unlike)
            raise ValueError(
                f"`out` must be a folder of the same code, got {journal.folder} ({ANEW}) with {got} "
                f"for {one.name!r}"
            )


def _tell(
    journal: Journal,
    standing: int,
    candidates: Sequence[Repeat],
    failed: int,
    again: int,
    ended: int,
) -> None:
    times = [record.time for record in journal.records.values() if record.time]
    ends = dict.fromkeys(_minute(time) for time in (min(times), max(times))) if times else {}
    when = " to ".join(ends) if ends else f"before {_minute(journal.written)}"
    logger.warning(
        "Continues %s: %s of %s %s were measured before (%s)%s%s%s; --fresh measures all anew",
        journal.folder,
        standing,
        len(candidates),
        counted(candidates),
        when,
        f", {failed} of them failed" if failed else "",
        f", {again} more failed and {'is' if again == 1 else 'are'} tried again" if again else "",
        f", {ended} more had been ended by halving" if ended else "",
    )


def _minute(time: float) -> str:
    return f"{datetime.fromtimestamp(time):%Y-%m-%d %H:%M}"
