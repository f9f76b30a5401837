"""Worker: what runs in a process of its own and measures the candidates that come through a pipe."""

from __future__ import annotations

import _thread
import os
import pickle
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing import connection, parent_process
from multiprocessing.connection import Connection

from prescreen.failures import CandidateFailed, failing_as
from prescreen.forking import IGNORED
from prescreen.ranking.events import STARTED, events
from prescreen.ranking.executors.base import READY, torch_threads
from prescreen.ranking.executors.shared import remove_abandoned
from prescreen.ranking.jobs import Job
from prescreen.text import named_line


@dataclass(frozen=True)
class Unready:
    """Why a worker cannot begin."""

    reason: str


@dataclass(frozen=True)
class Today:
    """What a worker has of its parent, and not of the server that forks it, which began earlier.

    Args:
        errors: a copy of the parent's standard error, if it has one.
        environment: its variables.
    """

    errors: Connection | None
    environment: Mapping[str, str]

    def enter(self) -> None:
        """Take it over."""
        if self.errors is not None:
            os.dup2(self.errors.fileno(), 2)
            self.errors.close()
        os.environ.clear()
        os.environ.update(self.environment)


def worker_main(pipe: Connection, today: Today | None) -> None:
    """Receive the plan, then candidates; send their events.

    Args:
        pipe: to the parent.
        today: of the parent; None if this process began with it.
    """
    if today is not None:
        today.enter()
    _stand_apart()
    # Not one of Python's own threads: nobody need fear that it draws random numbers.
    _thread.start_new_thread(_exit_with_parent, ())
    try:
        threads, plan = pickle.loads(pipe.recv_bytes())
    except BaseException as error:  # importing a module can raise anything
        pipe.send(Unready(named_line(error)))
        return
    pipe.send(READY)
    while message := pipe.recv_bytes():
        with torch_threads(threads):
            try:
                with failing_as("build"):
                    job = Job.unpacked(message)
            except CandidateFailed as failure:
                pipe.send(STARTED)
                pipe.send(failure)
                continue
            for event in events(job, plan):
                pipe.send(event)


def end_group(pid: int) -> None:
    """End what a worker has started, and itself if it still lives."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (AttributeError, OSError):  # Windows; none is left
        pass


def _stand_apart() -> None:
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # so that the exit code says what it was
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [*IGNORED, signal.SIGTERM])
        os.setpgid(0, 0)  # so that what candidates start ends with the worker
    # The standard output is for results, also from C and when the process ends.
    os.dup2(2, 1)
    sys.stdout = sys.stderr


def _exit_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    remove_abandoned()
    end_group(os.getpid())
    os._exit(1)
