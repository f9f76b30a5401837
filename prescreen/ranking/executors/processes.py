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
from prescreen.ranking.events import FINISHED, Event
from prescreen.ranking.executors.base import GRACE, READY, RETRIES, pickled
from prescreen.ranking.executors.ends import is_from_outside, reason_of
from prescreen.ranking.executors.gpus import visible
from prescreen.ranking.executors.shared import shared
from prescreen.ranking.executors.started import Worker, end, received, send, start
from prescreen.screening import Plan
from prescreen.screening.deadline import timed_out
from prescreen.spaces.candidate import Candidate

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
        self, candidates: Sequence[Candidate], plan: Plan, threads: int
    ) -> Generator[tuple[int, Event]]:
        """See ``Executor``."""
        gpus = visible(plan.training.device, self.gpus)  # an error comes now
        return self._events(candidates, plan, threads, gpus)

    def _events(
        self, candidates: Sequence[Candidate], plan: Plan, threads: int, gpus: Sequence[str]
    ) -> Generator[tuple[int, Event]]:
        jobs = [pickled(f"candidate {one.name!r}", one) for one in candidates]
        with shared("task", (threads, plan)) as setup:
            yield from _Pool(jobs, setup, self.workers, plan.timeout, gpus).events()


class _Pool:
    """The worker processes of one ranking, and what they have still to do."""

    def __init__(
        self,
        jobs: Sequence[bytes],
        setup: bytes,
        workers: int,
        timeout: float | None,
        gpus: Sequence[str] = (),
    ) -> None:
        self._jobs, self._setup, self._workers, self._timeout = jobs, setup, workers, timeout
        self._gpus = gpus
        self._waiting = list(range(len(jobs)))[::-1]
        self._running: list[Worker] = []
        self._lost: Counter[int | None] = Counter()

    def events(self) -> Generator[tuple[int, Event]]:
        try:
            while self._waiting or self._running:
                while len(self._running) < min(self._workers, len(self._waiting) + self._busy()):
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

    def _busy(self) -> int:
        return sum(worker.job is not None for worker in self._running)

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
        if event in (READY, FINISHED) or isinstance(event, CandidateFailed):
            worker.ready = True
            worker.job = self._waiting.pop() if self._waiting else None
            worker.end = time.monotonic() + GRACE + self._limit(worker.job)
            send(worker, b"" if worker.job is None else self._jobs[worker.job])

    def _limit(self, job: int | None) -> float:
        """Seconds for a candidate, or for a worker without one to end."""
        if job is None:
            return 0.0
        return math.inf if self._timeout is None else self._timeout

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
            self._waiting += [] if job is None else [job]
        elif job is None:
            raise RuntimeError(
                f"a worker process could not start (exit code {code}); a script that ranks with "
                "processes needs `if __name__ == '__main__':` around the call"
            )
        else:
            yield job, CandidateFailed("killed", reason_of(code, self._lost[job]))
