"""Processes: candidates side by side; the death of a process is a result, not the end."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from prescreen.checks import require_at_least
from prescreen.failures import CandidateFailed
from prescreen.ranking.events import FINISHED, Event, events
from prescreen.ranking.executors.base import READY, pickled, torch_threads
from prescreen.screening import Plan
from prescreen.spaces.candidate import Candidate


def usable_cores() -> int:
    """The CPU cores that this process may use; in a container, fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Processes:
    """Processes on this machine. A script needs ``if __name__ == "__main__":`` around the call.

    Args:
        workers: how many; by default one for each core.

    Raises:
        ValueError: fewer than one; or, during measurement, something cannot be pickled.
        RuntimeError: during measurement, a process cannot start.
    """

    workers: int = field(default_factory=usable_cores)

    def __post_init__(self) -> None:
        require_at_least("workers", self.workers, 1)

    def measure(
        self, candidates: Sequence[Candidate], plan: Plan, threads: int
    ) -> Generator[tuple[int, Event]]:
        """See ``Executor``."""
        setup = pickled("task", (threads, plan))
        jobs = [pickled(f"candidate {one.name!r}", one) for one in candidates]
        yield from _measure(jobs, setup, self.workers)


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    job: int | None = None
    ready: bool = False


def _measure(jobs: Sequence[bytes], setup: bytes, workers: int) -> Generator[tuple[int, Event]]:
    waiting = [*enumerate(jobs)][::-1]
    running: dict[Connection, _Worker] = {}
    try:
        while waiting or running:
            while len(running) < workers and len(running) < len(waiting) + _busy(running):
                worker = _start(setup)
                running[worker.pipe] = worker
            for pipe in connection.wait(list(running)):
                worker = running[pipe]  # type: ignore[index]  # only our own pipes were waited for
                try:
                    event = worker.pipe.recv()
                except (EOFError, ConnectionResetError):
                    del running[worker.pipe]
                    failure = _death(worker)
                    if worker.job is not None:
                        yield worker.job, failure
                    continue
                if event != READY:
                    assert worker.job is not None
                    yield worker.job, event
                if event in (READY, FINISHED) or isinstance(event, CandidateFailed):
                    worker.ready = True
                    worker.job, job = waiting.pop() if waiting else (None, None)
                    _send(worker, job)
    finally:
        for worker in running.values():
            worker.process.kill()
            worker.process.join()


def _busy(running: dict[Connection, _Worker]) -> int:
    return sum(worker.job is not None for worker in running.values())


def _start(setup: bytes) -> _Worker:
    # Spawn, because a forked child can deadlock in torch's thread pools and cannot use CUDA.
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_worker_main, args=(theirs,), daemon=True)
    process.start()
    theirs.close()  # then the worker's death closes the pipe
    worker = _Worker(process, ours)
    _send(worker, setup)
    return worker


def _send(worker: _Worker, message: bytes | None) -> None:
    try:
        worker.pipe.send_bytes(message or b"")
    except OSError:
        pass  # the worker has died, which the next read from its pipe reports


def _death(worker: _Worker) -> CandidateFailed:
    worker.process.join()
    code = worker.process.exitcode or 0
    if not worker.ready:
        raise RuntimeError(
            f"a worker process could not start (exit code {code}); a script that ranks with processes "
            "needs `if __name__ == '__main__':` around the call"
        )
    if code < 0:
        name = signal.Signals(-code).name
        hint = ", out of memory?" if -code == signal.SIGKILL else ""
        return CandidateFailed("killed", f"its worker process ended with {name}{hint}")
    return CandidateFailed("killed", f"its worker process ended with exit code {code}")


def _worker_main(pipe: Connection) -> None:
    # Ctrl-C reaches the whole process group; the parent ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    threads, plan = pickle.loads(pipe.recv_bytes())
    pipe.send(READY)
    while job := pipe.recv_bytes():
        with torch_threads(threads):
            for event in events(pickle.loads(job), plan):
                pipe.send(event)


def _exit_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)
