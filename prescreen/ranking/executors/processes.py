"""Worker processes: candidates measured side by side; the death of one is a result, not the end."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import torch

from prescreen.failures import CandidateFailed
from prescreen.reading import Reading
from prescreen.screening import screen
from prescreen.spaces.candidate import Candidate

STARTED = "started"
FINISHED = "finished"
READY = "ready"  # a worker, before its first candidate
Event = str | Reading | CandidateFailed


def measure(
    candidates: Sequence[Candidate], workers: int, threads: int, screening: dict[str, Any]
) -> Generator[tuple[int, Event]]:
    """Screen candidates and yield what happens as ``(index of the candidate, event)``.

    Args:
        candidates: what to screen.
        workers: processes to use; 0 screens one after the other in this process.
        threads: torch's CPU threads a candidate.
        screening: the keyword arguments of ``screen``.

    Yields:
        Per candidate STARTED, then Readings, then FINISHED or a CandidateFailed.

    Raises:
        ValueError: something cannot be pickled, which worker processes need.
        RuntimeError: worker processes cannot start.
    """
    if workers == 0:
        for index, candidate in enumerate(candidates):
            with _threads(threads):
                yield from ((index, event) for event in events(candidate, screening))
    else:
        yield from _measure_in_processes(candidates, workers, threads, screening)


def events(candidate: Candidate, screening: dict[str, Any]) -> Iterator[Event]:
    """STARTED, the readings of one candidate, and how it ended."""
    yield STARTED
    try:
        yield from screen(candidate, **screening)
    except CandidateFailed as failure:
        yield failure
    else:
        yield FINISHED


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    job: int | None = None
    ready: bool = False


def _measure_in_processes(
    candidates: Sequence[Candidate], workers: int, threads: int, screening: dict[str, Any]
) -> Generator[tuple[int, Event]]:
    setup = pickled("workers", "task", (threads, screening))
    waiting = [
        (i, pickled("workers", f"candidate {c.name!r}", c)) for i, c in enumerate(candidates)
    ][::-1]
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
    # Spawn, because a forked child inherits torch's thread pools in a state that can deadlock, and
    # CUDA not at all.
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_worker_main, args=(theirs,), daemon=True)
    process.start()
    theirs.close()  # so that the worker's death closes the pipe
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
            f"workers: a worker process could not start (exit code {code}); a script that ranks "
            "with workers needs `if __name__ == '__main__':` around the call"
        )
    if code < 0:
        name = signal.Signals(-code).name
        hint = ", out of memory?" if -code == signal.SIGKILL else ""
        return CandidateFailed("killed", f"its worker process ended with {name}{hint}")
    return CandidateFailed("killed", f"its worker process ended with exit code {code}")


def _worker_main(pipe: Connection) -> None:
    # Ctrl-C reaches the whole process group: the parent decides, and ends its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    threads, screening = pickle.loads(pipe.recv_bytes())
    pipe.send(READY)
    while job := pipe.recv_bytes():
        with _threads(threads):
            for event in events(pickle.loads(job), screening):
                pipe.send(event)


def _exit_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def pickled(
    argument: str,
    name: str,
    value: object,
    dumps: Callable[[object], bytes] = pickle.dumps,
) -> bytes:
    """What is sent to workers.

    Raises:
        ValueError: it does not pickle; the message begins with ``argument``.
    """
    # Plain pickle on purpose: torch.multiprocessing would move tensors to /dev/shm, which is 64 MB
    # in many containers, and a worker that overruns it dies of a bus error.
    try:
        return dumps(value)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{argument}: {name} must pickle to be sent to worker processes, got {error}; "
            "define it at the top level of a module, or measure in this process (workers=0)"
        ) from None
