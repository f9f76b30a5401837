"""Rungs: the jobs of a ranking with halving, from one rung to the next."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from prescreen.ranking.events import STARTED, Event, Paused, ends
from prescreen.ranking.halving import Halving
from prescreen.ranking.jobs import Job
from prescreen.ranking.journal import Journal
from prescreen.ranking.measuring import Measuring
from prescreen.ranking.order import best_first
from prescreen.ranking.progress import Reporter
from prescreen.ranking.repeats import Repeat
from prescreen.ranking.replay import Record
from prescreen.ranking.states import States
from prescreen.screening import Plan
from prescreen.spaces.candidate import Candidate
from prescreen.text import ordinal


@dataclass
class Rungs:
    """Which jobs are to be done until a rung, who goes on there, and who ends.

    What is decided follows from the readings in the journal alone: an interrupted run decides the same
    when it is continued.

    Args:
        halving: the rungs.
        plan: how candidates are screened.
        candidates: all that are ranked.
        seeds: how often each is trained.
        samples: how many the probe batch has.
        anew: keys of trainings that an earlier run began and that do not go on from there.
        journal: of the run.
        reporter: is told how many readings are still to come.
    """

    halving: Halving
    plan: Plan
    candidates: Sequence[Candidate]
    seeds: int
    samples: int
    anew: set[str]
    journal: Journal
    reporter: Reporter

    def __post_init__(self) -> None:
        self._states = States(self.journal.folder)
        self._rungs = [*self.halving.at(self.plan.readings).items()]
        self._live = [*self.candidates]
        self._asked = False
        self._whole = False
        self._compared = 0  # how many reached the first rung
        known = sum(len(self._record(one).trajectory) for one in self._trainings())
        self.reporter.expect(self._to_come(0) - known)

    def measure(self, measuring: Measuring) -> None:
        """Measure until all is done, or the time of the run is over."""

        def hear(job: Job, event: Event) -> None:
            measuring.hear(job, event)
            self._hear(job, event)

        try:
            replace(measuring, hear=hear).measure(self._following)
        finally:
            self._states.close(done=self._whole)

    def _following(self) -> list[Job]:
        """The jobs until the next rung at which there are any; none when all is done."""
        while not self._whole:
            until = self._rungs[0][0] if self._rungs else None
            jobs = [] if self._asked else self._jobs(until)
            self._asked = True
            if jobs:
                return jobs
            self._live = [one for one in self._live if not self._has_failed(one)]
            if until is None:
                self._whole = True
            else:
                self._decide(*self._rungs.pop(0))
                self._asked = False
        return []

    def _hear(self, job: Job, event: Event) -> None:
        """Keep the state of a job that pauses; forget those of a training that begins or has ended."""
        key = job.training.key
        if isinstance(event, Paused):
            self._states.keep(key, len(self.journal.records[key].trajectory), event.state)
        elif event == STARTED or ends(event):
            self._states.drop(key)

    def _jobs(self, until: int | None) -> list[Job]:
        return [
            self._job(one, until) for one in self._trainings() if not self._has_reached(one, until)
        ]

    def _job(self, one: Repeat, until: int | None) -> Job:
        record = self._record(one)
        there = 0 if one.key in self.anew else len(record.trajectory)
        self.anew.discard(one.key)
        return Job(one, until, *self._states.latest(one.key, there))

    def _has_reached(self, one: Repeat, until: int | None) -> bool:
        """Whether a training need not go on until a rung, as it was there, has ended or failed."""
        record = self._record(one)
        if one.key in self.anew:
            return False
        if record.status == "finished" or record.failed:
            return True
        return until is not None and bool(self._readings_at(record, until))

    def _readings_at(self, record: Record, number: int) -> int:
        """How many readings a training had at a rung; 0 if it was not there."""
        training, readings = self.plan.training, self.plan.readings
        # Such runs cannot be repeated, and neither can their rungs.
        if training.seconds is not None:
            there = len(record.trajectory)
            return min(number, there) if there >= number or record.done else 0
        for count, reading in enumerate(record.trajectory, start=1):
            if math.floor(reading.step / training.steps * readings + 1e-9) >= number:
                return count
        return 0

    def _has_failed(self, candidate: Candidate) -> bool:
        return any(record.failed for record in self._records(candidate))

    def _records(self, candidate: Candidate) -> list[Record]:
        return [self._record(Repeat(candidate, number)) for number in range(self.seeds)]

    def _record(self, one: Repeat) -> Record:
        return self.journal.records.get(one.key, Record())

    def _trainings(self) -> list[Repeat]:
        """Those of the candidates that have not ended, all with one seed before those with the next."""
        return [Repeat(one, number) for number in range(self.seeds) for one in self._live]

    def _decide(self, number: int, kept: float) -> None:
        """Compare those that got to a rung, and end those that do not go on."""
        cut: dict[str, Record] = {}
        for one in self._live:
            for at, record in enumerate(self._records(one)):
                count = self._readings_at(record, number) or len(record.trajectory)
                cut[Repeat(one, at).key] = record.cut(count)
        table = self.plan.table
        places = best_first(self._live, cut, table, seeds=self.seeds, samples=self.samples)
        self._compared = self._compared or len(places)
        going_on = self.halving.going_on(kept, self._compared)
        for place, index in enumerate(places[going_on:], start=going_on + 1):
            self._end(self._live[index], cut, place, len(places))
        self._live = [self._live[index] for index in sorted(places[:going_on])]
        self.reporter.expect(self._to_come(number))

    def _end(self, candidate: Candidate, cut: Mapping[str, Record], place: int, of: int) -> None:
        for number, record in enumerate(self._records(candidate)):
            one = Repeat(candidate, number)
            there = cut[one.key].trajectory
            known = record.rung, record.place
            if record.status != "finished" and known != (len(there), place):
                steps = "" if self.plan.training.seconds else f" of {self.plan.training.steps}"
                reason = f"ended at step {there.last.step}{steps}: {ordinal(place)} of {of} there"
                self.journal.halved(one.key, len(there), place, reason)
            self._states.drop(one.key)
            self.reporter.ended(one)

    def _to_come(self, number: int) -> int:
        """How many readings come after a rung, if nobody fails."""
        count, at, candidates = 0, number, len(self._live)
        reached = self._compared or candidates
        for following, kept in [*self._rungs, (self.plan.readings, 0.0)]:
            count += (following - at) * candidates
            at, candidates = following, min(candidates, self.halving.going_on(kept, reached))
        return count * self.seeds
