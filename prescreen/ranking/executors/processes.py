"""Processes: candidates side by side; the death of a process is a result, not the end."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection

from prescreen.checks import require, require_at_least
from prescreen.failures import CandidateFailed
from prescreen.forking import is_gone
from prescreen.ranking.events import Event, ends
from prescreen.ranking.executors.base import GRACE, READY, RETRIES
from prescreen.ranking.executors.ends import is_from_outside, reason_of
from prescreen.ranking.executors.gpus import visible
from prescreen.ranking.executors.queue import Queue
from prescreen.ranking.executors.shared import shared
from prescreen.ranking.executors.started import Worker, end, received, send, start
from prescreen.ranking.jobs import Job
from prescreen.screening import Plan
from prescreen.screening.deadline import timed_out
from prescreen.screening.form import Forms

# If a candidate has forked, its processes keep the pipe open when the worker dies: it is looked at.
_LOOK = 1.0

# Windows waits for 63 things at once.
MOST_WORKERS = 60 if sys.platform == "win32" else 10_000


def usable_cores() -> int:
    """The CPU cores that this process may use; in a container, fewer than the machine has."""
    has_set = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_set else os.cpu_count() or 1
    return min(cores, MOST_WORKERS)


@dataclass(frozen=True)
class Processes:
    """Processes on this machine. A script needs ``if __name__ == "__main__":`` around the call.

    A candidate whose process is ended by a signal from outside begins again in another one. After
    ``RETRIES`` more attempts it has failed as ``"killed"``, as it has at once if its process crashes.

    Args:
        workers: how many; by default one for each core. On Windows, at most 60.
        gpus: the first so many GPUs of those that this process sees, over which workers are spread; by
            default all of them on the device ``"cuda"``. A worker sees its own alone, so that code of
            candidates finds it whichever way it asks.

    Raises:
        ValueError: fewer than one, or too many; or, during measurement, something cannot be pickled.
        RuntimeError: during measurement, a process cannot start.
    """

    workers: int = field(default_factory=usable_cores)
    gpus: int | None = None

    def __post_init__(self) -> None:
        if self.gpus is not None:
            require_at_least("gpus", self.gpus, 1)
        require_at_least("workers", self.workers, 1)
        fits = self.workers <= MOST_WORKERS
        require("workers", f"at most {MOST_WORKERS} on this platform", self.workers, fits)

    def measure(
        self, jobs: Sequence[Job], plan: Plan | Forms, threads: int
    ) -> Generator[tuple[int, Event]]:
        """See ``Executor``."""
        gpus = visible(plan.training.device, self.gpus)  # an error comes now
        return self._events(jobs, plan, threads, gpus)

    def _events(
        self, jobs: Sequence[Job], plan: Plan | Forms, threads: int, gpus: Sequence[str]
    ) -> Generator[tuple[int, Event]]:
        queue = Queue(jobs)
        with shared("task", (threads, plan)) as setup:
            yield from _Pool(queue, setup, self.workers, plan.timeout, gpus).events()


class _Pool:
    """The worker processes of one ranking, and what they have still to do."""

    def __init__(
        self,
        queue: Queue,
        setup: bytes,
        workers: int,
        timeout: float | None,
        gpus: Sequence[str] = (),
    ) -> None:
        self._queue, self._setup, self._workers, self._timeout = queue, setup, workers, timeout
        self._gpus = gpus
        self._running: list[Worker] = []
        self._lost: Counter[int | None] = Counter()

    def events(self) -> Generator[tuple[int, Event]]:
        try:
            while self._queue or self._running:
                for worker in [one for one in self._running if one.idle]:
                    self._give(worker)
                while len(self._running) < min(self._workers, self._wanted()):
                    self._running.append(start(self._setup, self._free_gpu()))
                for worker in self._stirred():
                    yield from self._advance(worker)
        finally:
            for worker in self._running:
                end(worker, at_once=True)

    def _free_gpu(self) -> str | None:
        """The GPU that the fewest workers have."""
        taken = Counter(worker.gpu for worker in self._running)
        return min(self._gpus, key=lambda gpu: taken[gpu], default=None)

    def _wanted(self) -> int:
        return len(self._queue) + sum(worker.job is not None for worker in self._running)

    def _stirred(self) -> list[Worker]:
        """The workers that have sent something, have ended, or are late."""
        patience = min(worker.end for worker in self._running) - time.monotonic()
        pipes = [worker.pipe for worker in self._running]
        sent = connection.wait(pipes, min(max(patience, 0.0), _LOOK))
        return [
            worker
            for worker in self._running
            if worker.pipe in sent or worker.is_late() or not worker.process.is_alive()
        ]

    def _advance(self, worker: Worker) -> Iterator[tuple[int, Event]]:
        event = received(worker)
        if event is None:
            yield from self._ended(worker)
            return
        if worker.job is not None:
            yield worker.job, event
        if event == READY or ends(event):
            worker.ready, worker.job = True, None
            self._give(worker)

    def _give(self, worker: Worker) -> None:
        """Give a worker without a job the next one, let it wait for what others may add, or end it."""
        worker.job = self._queue.next()
        worker.idle = worker.job is None and self._queue.may_grow
        if worker.idle and any(one.job is not None for one in self._running):
            worker.end = math.inf
            return
        worker.idle = False
        limit = math.inf if self._timeout is None else self._timeout
        worker.end = time.monotonic() + GRACE + (0.0 if worker.job is None else limit)
        send(worker, b"" if worker.job is None else self._queue.message(worker.job))

    def _ended(self, worker: Worker) -> Iterator[tuple[int, Event]]:
        """What the end of a worker means for its candidate."""
        self._running.remove(worker)
        late, job = worker.is_late(), worker.job
        code = end(worker, at_once=late)
        if job is None and worker.ready:
            return
        if job is not None and late and self._timeout is not None:
            yield job, timed_out(self._timeout)
            return
        self._lost[job] += 1
        outside = is_from_outside(code) or is_gone(worker.server)
        if outside and self._lost[job] <= RETRIES:
            self._queue.give_back(job)
        elif job is None:
            raise RuntimeError(
                f"a worker process could not start (exit code {code}); a script that ranks with "
                "processes needs `if __name__ == '__main__':` around the call"
            )
        else:
            yield job, CandidateFailed("killed", reason_of(code, self._lost[job]))
