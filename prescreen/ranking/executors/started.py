"""Started: one worker process, from its beginning to its end."""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from prescreen.forking import IGNORED, blocked, context_of, is_served, server
from prescreen.ranking.executors.base import GRACE, RETRIES
from prescreen.ranking.executors.gpus import seeing
from prescreen.ranking.executors.worker import Today, Unready, end_group, worker_main


@dataclass
class Worker:
    """A worker process, and what it is doing."""

    process: BaseProcess
    pipe: Connection
    gpu: str | None = None
    job: int | None = None
    ready: bool = False
    idle: bool = False  # waits for jobs that may be added
    end: float = math.inf  # when it is killed, on the monotonic clock
    server: int | None = None  # that has forked it

    def is_late(self) -> bool:
        """Whether it must be killed now."""
        return time.monotonic() >= self.end


def start(setup: bytes, gpu: str | None) -> Worker:
    """A process that is sent the plan, and sees one GPU alone if that is given."""
    # A user's script, which every worker imports, may ask for GPUs before the worker knows its own.
    for attempt in range(RETRIES + 1):
        try:
            worker = _started(gpu, forks=gpu is None and is_served())
        except (EOFError, ConnectionError):  # the server has just died
            if attempt == RETRIES:
                raise
        else:
            break
    send(worker, setup)
    return worker


def _started(gpu: str | None, *, forks: bool) -> Worker:
    context = context_of(forks=forks)
    ours, theirs = context.Pipe()
    with blocked(IGNORED), seeing(gpu):  # signals until the worker ignores them
        arguments = (theirs, _today() if forks else None)
        process = context.Process(target=worker_main, args=arguments, daemon=True)
        process.start()
    theirs.close()  # then the worker's death closes the pipe
    return Worker(process, ours, gpu, server=server() if forks else None)


def _today() -> Today:
    try:
        errors = Connection(os.dup(2), readable=False)
    except OSError:  # there is no standard error
        errors = None
    return Today(errors, dict(os.environ))


def send(worker: Worker, message: bytes) -> None:
    """Send a worker something; if it has died, nothing happens."""
    try:
        worker.pipe.send_bytes(message)
    except OSError:
        pass  # the worker has died, which the next read from its pipe reports


def received(worker: Worker) -> Any:
    """The next event of a worker; None if there is none, as it has ended or is late."""
    try:
        event = worker.pipe.recv() if worker.pipe.poll() else None
    except (EOFError, OSError):
        return None
    if isinstance(event, Unready):
        raise ValueError(
            f"every worker process must be able to import the task, got {event.reason}"
        )
    return event


def end(worker: Worker, *, at_once: bool) -> int:
    """Wait for the end of a worker, or bring it about; its exit code."""
    process = worker.process
    if at_once:
        process.kill()
    process.join(GRACE)
    process.kill()
    process.join()
    if process.pid is not None:
        end_group(process.pid)
    worker.pipe.close()
    return process.exitcode or 0
