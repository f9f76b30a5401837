"""Here: candidates screened one after the other in this process."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

from prescreen.ranking.events import Event, events
from prescreen.ranking.executors.base import torch_threads
from prescreen.ranking.jobs import Job
from prescreen.screening import Plan
from prescreen.screening.form import Forms


@dataclass(frozen=True)
class Here:
    """This process. A candidate that exhausts memory can end it."""

    def measure(
        self, jobs: Sequence[Job], plan: Plan | Forms, threads: int
    ) -> Generator[tuple[int, Event]]:
        """See ``Executor``."""
        for index, job in enumerate(jobs):  # also over those that are added meanwhile
            with torch_threads(threads):
                yield from ((index, event) for event in events(job, plan))
