"""Events: what happens to a candidate while it is screened."""

from __future__ import annotations

import os
from collections.abc import Iterator

from prescreen.failures import CandidateFailed
from prescreen.reading import Reading
from prescreen.screening import Plan, Screening
from prescreen.spaces.candidate import Candidate

STARTED = "started"
FINISHED = "finished"
Event = str | Reading | CandidateFailed


def events(candidate: Candidate, plan: Plan) -> Iterator[Event]:
    """STARTED, the readings of one candidate, and how it ended: FINISHED or a CandidateFailed.

    If the candidate's code forks, the copy of this process ends at its first event.
    """
    process = os.getpid()
    try:
        for event in _events(candidate, plan):
            _end_copy_of(process)
            yield event
    finally:
        _end_copy_of(process)


def _end_copy_of(process: int) -> None:
    """End this process at once, without cleaning up, if it is only a fork of that one."""
    if os.getpid() != process:
        os._exit(1)


def _events(candidate: Candidate, plan: Plan) -> Iterator[Event]:
    yield STARTED
    try:
        yield from Screening(candidate, plan)
    except CandidateFailed as failure:
        yield failure
    else:
        yield FINISHED
