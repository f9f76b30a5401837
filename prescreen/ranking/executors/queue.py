"""Queue: the jobs of an executor that have still to be given to a worker."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prescreen.ranking.executors.base import dumps as plain
from prescreen.ranking.executors.base import pickled
from prescreen.ranking.jobs import Job


class Queue:
    """Jobs in their order, as messages for workers; others may be added to them at any time.

    Args:
        jobs: what is to be done.
        dumps: pickles a candidate.

    Raises:
        ValueError: a candidate cannot be pickled.
    """

    def __init__(self, jobs: Sequence[Job], dumps: Callable[[object], bytes] = plain) -> None:
        self._jobs, self._dumps = jobs, dumps
        self._candidates: dict[int, bytes] = {}
        self._next = 0
        self._back: list[int] = []
        for job in jobs:  # an error comes now
            self._candidate(job)

    def __len__(self) -> int:
        return len(self._back) + len(self._jobs) - self._next

    @property
    def may_grow(self) -> bool:
        """Whether jobs may be added: those that pause go on later."""
        return any(job.until is not None for job in self._jobs)

    def next(self) -> int | None:
        """The index of the next job; None if there is none now."""
        if self._back:
            return self._back.pop()
        if self._next == len(self._jobs):
            return None
        self._next += 1
        return self._next - 1

    def give_back(self, index: int | None) -> None:
        """A job was lost with its worker, and comes next; None if there was none."""
        self._back += [] if index is None else [index]

    def message(self, index: int) -> bytes:
        """A job as it is sent to a worker."""
        job = self._jobs[index]
        return job.packed(self._candidate(job))

    def _candidate(self, job: Job) -> bytes:
        candidate = job.candidate
        if id(candidate) not in self._candidates:
            name = f"candidate {candidate.name!r}"
            self._candidates[id(candidate)] = pickled(name, candidate, self._dumps)
        return self._candidates[id(candidate)]
