"""Progress: how far a ranking is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prescreen.failures import CandidateFailed
from prescreen.ranking.events import FINISHED, RESUMED, Event, begins
from prescreen.ranking.jobs import Job
from prescreen.ranking.repeats import Repeat
from prescreen.reading import Reading


@dataclass(frozen=True)
class Progress:
    """How far a ranking is, in candidates and in readings.

    Args:
        name: the candidate of the latest event.
        finished: candidates finished, failed or ended by halving, including those of an earlier run.
        candidates: in all; with several seeds, all trainings.
        share: of this run's readings, from 0 to 1.
    """

    name: str
    finished: int
    candidates: int
    share: float


class Reporter:
    """Turns the events of jobs into calls of ``progress``.

    Args:
        progress: is called; None if nobody is.
        chosen: all trainings.
        waiting: those that are measured in this run.
        readings: of each training.
    """

    def __init__(
        self,
        progress: Callable[[Progress], None] | None,
        chosen: Sequence[Repeat],
        waiting: Sequence[Repeat],
        readings: int,
    ) -> None:
        self._progress, self._readings = progress, readings
        self._candidates = len(chosen)
        self._open = {one.key for one in waiting}
        self._done: dict[str, int] = {}
        self._all = readings * len(waiting)
        self._begun: dict[str, int] = {}  # readings of an earlier run

    def hear(self, job: Job, event: Event) -> None:
        """Report an event of a job."""
        one = job.training
        if isinstance(event, Reading):
            self._done[one.key] += 1
        elif begins(event):  # again, if its node is lost
            there = job.readings if event == RESUMED else 0
            earlier = there if one.key not in self._done else 0
            self._begun[one.key] = min(self._begun.get(one.key, earlier), there)
            self._done[one.key] = there - self._begun[one.key]
            self._open.add(one.key)
        else:
            self._done.setdefault(one.key, 0)
        if event == FINISHED or isinstance(event, CandidateFailed):
            self._open.discard(one.key)
            self._done[one.key] = self._readings
        self._tell(one)

    def ended(self, training: Repeat) -> None:
        """Halving has ended a training."""
        if training.key in self._open:
            self._open.discard(training.key)
            self._tell(training)

    def expect(self, readings: int) -> None:
        """So many readings are to come from here on."""
        self._all = sum(self._done.values()) + max(readings, 0)

    def _tell(self, one: Repeat) -> None:
        if self._progress is not None:
            finished = self._candidates - len(self._open)
            share = min(1.0, sum(self._done.values()) / max(self._all, 1))
            self._progress(Progress(one.name, finished, self._candidates, share))
