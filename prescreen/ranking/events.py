"""Events: what happens to a candidate while it is screened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from prescreen.failures import CandidateFailed
from prescreen.ranking.jobs import Job, packed_state, unpacked_state
from prescreen.ranking.repeats import seeded
from prescreen.reading import Reading
from prescreen.screening import Plan, Screening
from prescreen.screening.form import Form, Forms

STARTED = "started"
CACHED = "cached"  # in place of STARTED: what follows was measured by another run
RESUMED = "resumed"
FINISHED = "finished"


@dataclass(frozen=True)
class Paused:
    """A training has come as far as its job says.

    Args:
        state: what it goes on from bit for bit; None if that cannot be kept, and it begins again.
    """

    state: bytes | None = None


Event = str | Reading | Form | CandidateFailed | Paused


def begins(event: Event) -> bool:
    """Whether it is the first of a job."""
    return event in (STARTED, RESUMED, CACHED)


def ends(event: Event) -> bool:
    """Whether it is the last of a job."""
    return event == FINISHED or isinstance(event, CandidateFailed | Paused)


def events(job: Job, plan: Plan | Forms) -> Iterator[Event]:
    """STARTED or RESUMED, the readings of a job, and how it ended: FINISHED, Paused, CandidateFailed.

    If only forms are asked for, its form is in place of the readings.
    If the candidate's code forks, the copy of this process ends at its first event.
    """
    process = os.getpid()
    try:
        for event in _events(job, plan):
            _end_copy_of(process)
            yield event
    finally:
        _end_copy_of(process)


def _end_copy_of(process: int) -> None:
    """End this process at once, without cleaning up, if it is only a fork of that one."""
    if os.getpid() != process:
        os._exit(1)


def _events(job: Job, plan: Plan | Forms) -> Iterator[Event]:
    if isinstance(plan, Forms):
        yield STARTED
        yield plan.of(job.candidate)
        yield FINISHED
        return
    screening = Screening(job.candidate, seeded(plan, job.training.number), until=job.until)
    content = job.state()
    state = None if content is None else unpacked_state(content)
    if state is not None:
        screening.load_state_dict(state)
    yield STARTED if state is None else RESUMED
    try:
        yield from screening
    except CandidateFailed as failure:
        yield failure
    else:
        yield Paused(packed_state(screening.state_dict())) if screening.paused else FINISHED
