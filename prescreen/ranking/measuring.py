"""Measuring: trainings go to an executor, and what happens to them into the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from prescreen.failures import CandidateFailed
from prescreen.ranking.budget import TimeBudget
from prescreen.ranking.events import FINISHED, STARTED, Event
from prescreen.ranking.executors import Executor
from prescreen.ranking.journal import Journal
from prescreen.ranking.repeats import Repeat, seeded
from prescreen.ranking.replay import Record
from prescreen.reading import Reading
from prescreen.screening import Plan

Hear = Callable[[Repeat, Event], None]


@dataclass(frozen=True)
class Measuring:
    """How the trainings of a run are measured.

    Args:
        on: where.
        plan: how candidates are screened.
        threads: torch's CPU threads per candidate.
        budget: says which trainings may begin.
        hear: gets every event, in order.
    """

    on: Executor
    plan: Plan
    threads: int
    budget: TimeBudget
    hear: Hear

    def measure(self, waiting: Sequence[Repeat], seeds: int) -> None:
        """Measure trainings, all those with one seed before those with the next."""
        for number in range(seeds):
            self._measure([one for one in waiting if one.number == number], number)
            if self.budget.is_over:
                return

    def _measure(self, own: Sequence[Repeat], number: int) -> None:
        built = [one.candidate for one in own]
        # On an error, workers end now and not when the traceback is garbage-collected.
        with closing(self.on.measure(built, seeded(self.plan, number), self.threads)) as happening:
            for index, event in self.budget.within(happening):
                self.hear(own[index], event)


def note(journal: Journal, key: str, event: Event, codes: Mapping[str, Mapping[str, str]]) -> None:
    """Write an event of a training into the journal."""
    if isinstance(event, Reading):
        journal.reading(key, event)
    elif isinstance(event, CandidateFailed):
        if journal.records.get(key, Record()).done:  # lost before it could start again
            journal.started(key, codes.get(key))
        journal.failed(key, event.kind, str(event.reason))
    elif event == STARTED:
        journal.started(key, codes.get(key))
    elif event == FINISHED:
        journal.finished(key)
