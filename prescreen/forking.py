"""Forking: on Linux workers are copies of a server that has imported what they need, once for all."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from typing import Any

# Ctrl-C and the end of a terminal reach all processes; the parent ends its workers. Some terminals stop
# what prints from the background.
_NAMES = ("SIGINT", "SIGHUP", "SIGTTOU")
IGNORED = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]

# What workers need. Torch imports its compiler when the first optimizer is made.
_IMPORTED = [
    "prescreen.ranking.executors.worker",
    "prescreen.tasks",
    "torch._dynamo",
    "torch.utils.flop_counter",
]

# Python has no public names for its server's process, and for whether a script has chosen imports.
_PRIVATE = ("_forkserver_pid", "_preload_modules")


def can_fork() -> bool:
    """Whether there can be such a server; elsewhere a copy may not use the system's libraries."""
    has_calls = hasattr(os, "killpg") and hasattr(os, "WNOHANG")  # unlike Windows
    if sys.platform != "linux" or not has_calls:
        return False
    return all(hasattr(_forkserver(), name) for name in _PRIVATE)  # another Python may lack them


def _forkserver() -> Any:
    from multiprocessing import forkserver

    return getattr(forkserver, "_forkserver", None)


def context_of(*, forks: bool) -> Any:
    """Where processes come from: the server, which has run nothing, or else an interpreter each.

    A process that has run torch is never copied: its pools of threads would be missing in the copy.
    """
    return get_context("forkserver" if forks else "spawn")


def start_early() -> None:
    """Let the server import while this process does; it ends with this process, whatever it does."""
    if can_fork():
        atexit.register(_end)
        is_served()


def is_served() -> bool:
    """Whether there is a server now; it is started if there can be one."""
    if not can_fork():
        return False
    try:
        _start()
    except OSError:  # its socket lies in the temporary folder, whose name may be too long for that
        return False
    return True


@contextmanager
def blocked(signals: Sequence[int]) -> Iterator[None]:
    """Signals wait inside the context; processes that are started there begin so."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start() -> None:
    from multiprocessing import forkserver, resource_tracker

    if _forkserver()._preload_modules == ["__main__"]:
        forkserver.set_forkserver_preload(_IMPORTED)
    resource_tracker.ensure_running()  # it lets signals through
    # The server's copies begin with what it blocks, and only workers know what to ignore.
    with blocked([*IGNORED, signal.SIGTERM]):
        forkserver.ensure_running()


def server() -> int | None:
    """The process of the server, None if there is none yet."""
    found: int | None = getattr(_forkserver(), "_forkserver_pid", None)
    return found


def is_gone(earlier: int | None) -> bool:
    """Whether a server has ended. Its copies have not, but nobody learns how they end."""
    if earlier is None or earlier != server():
        return earlier is not None
    return os.waitid(os.P_PID, earlier, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _end() -> None:
    """End the server now: it may still be importing, with the streams of this process open."""
    if (found := server()) is not None:
        with suppress(OSError):
            os.kill(found, signal.SIGKILL)
