"""Measuring: jobs go to an executor, and what happens to them into the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from prescreen.failures import CandidateFailed
from prescreen.ranking.budget import TimeBudget
from prescreen.ranking.events import CACHED, FINISHED, RESUMED, STARTED, Event, ends
from prescreen.ranking.executors import Executor
from prescreen.ranking.jobs import Job
from prescreen.ranking.journal import Journal
from prescreen.ranking.replay import Record
from prescreen.reading import Reading
from prescreen.screening import Plan

Hear = Callable[[Job, Event], None]
Following = Callable[[], Sequence[Job]]


@dataclass(frozen=True)
class Measuring:
    """How the trainings of a run are measured.

    Args:
        on: where.
        plan: how candidates are screened.
        threads: torch's CPU threads per candidate.
        budget: says which jobs may begin.
        hear: gets every event, in order.
    """

    on: Executor
    plan: Plan
    threads: int
    budget: TimeBudget
    hear: Hear

    def measure(self, following: Following) -> None:
        """Measure until there are no more jobs, or the budget is over.

        Args:
            following: gives the next jobs once all that it gave have ended; none at the end.
        """
        jobs = [*following()]
        while jobs and not self.budget.is_over:
            jobs = self._left_of(jobs, following) or [*following()]

    def _left_of(self, jobs: list[Job], following: Following) -> list[Job]:
        """Measure jobs, and those that follow; returns what the executor has left."""
        ended: set[int] = set()
        # On an error, workers end now and not when the traceback is garbage-collected.
        with closing(self.on.measure(jobs, self.plan, self.threads)) as happening:
            for index, event in self.budget.within(happening):
                self.hear(jobs[index], event)
                if ends(event):
                    ended.add(index)
                if len(ended) == len(jobs):
                    jobs += following()
        return [job for index, job in enumerate(jobs) if index not in ended] if ended else []


def once(jobs: Sequence[Job]) -> Following:
    """All jobs at once, which none follow."""
    left = iter([jobs])
    return lambda: next(left, [])


def note(journal: Journal, job: Job, event: Event, codes: Mapping[str, Mapping[str, str]]) -> None:
    """Write an event of a job into the journal."""
    key = job.training.key
    if isinstance(event, Reading):
        journal.reading(key, event)
    elif isinstance(event, CandidateFailed):
        if journal.records.get(key, Record()).done:  # lost before it could start again
            journal.started(key, codes.get(key))
        journal.failed(key, event.kind, str(event.reason))
    elif event == STARTED:
        journal.started(key, codes.get(key))
    elif event == CACHED:
        journal.started(key, codes.get(key), cached=True)
    elif event == RESUMED:
        journal.resumed(key, job.readings)
    elif event == FINISHED:
        journal.finished(key)
