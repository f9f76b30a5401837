"""Events: what happens to a candidate while it is screened."""

from __future__ import annotations

from collections.abc import Iterator

from prescreen.failures import CandidateFailed
from prescreen.reading import Reading
from prescreen.screening import Plan, Screening
from prescreen.spaces.candidate import Candidate

STARTED = "started"
FINISHED = "finished"
Event = str | Reading | CandidateFailed


def events(candidate: Candidate, plan: Plan) -> Iterator[Event]:
    """STARTED, the readings of one candidate, and how it ended: FINISHED or a CandidateFailed."""
    yield STARTED
    try:
        yield from Screening(candidate, plan)
    except CandidateFailed as failure:
        yield failure
    else:
        yield FINISHED
