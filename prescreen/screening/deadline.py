"""Deadline: a candidate's code is interrupted once its time is over."""

from __future__ import annotations

import math
import signal
import threading
import time
from types import FrameType
from typing import Any

from prescreen.failures import CandidateFailed

# How often code that carries on regardless is interrupted again, in seconds.
_AGAIN = 1.0


def timed_out(seconds: float) -> CandidateFailed:
    """The failure of a candidate that has not finished in time."""
    return CandidateFailed("timeout", f"not finished after {seconds:g} s")


class Deadline:
    """A context in which a candidate's code is interrupted when its time is over.

    That happens between two operations of Python: code that stays inside one of C, or catches all
    errors, can only be ended with its process. Outside of the main thread, and on Windows, the time is
    only looked at where `check` is called.

    Args:
        seconds: from the first entry; None for no limit.
        spent: of them, before this process went on.
    """

    def __init__(self, seconds: float | None, spent: float = 0.0) -> None:
        self._spent = spent
        self._seconds = math.inf if seconds is None else seconds
        self._end = math.inf
        self._armed = False
        self._before: tuple[Any, tuple[float, float]] | None = None

    def check(self) -> None:
        """Fail the candidate if its time is over.

        Raises:
            CandidateFailed: it is.
        """
        if time.monotonic() >= self._end:
            raise timed_out(self._seconds)

    def __enter__(self) -> None:
        self._end = min(self._end, time.monotonic() + self._seconds - self._spent)
        in_main_thread = threading.current_thread() is threading.main_thread()
        if self._end == math.inf or not in_main_thread or not hasattr(signal, "setitimer"):
            return
        handler = signal.signal(signal.SIGALRM, self._ring)
        left = max(self._end - time.monotonic(), 1e-3)
        self._armed = True
        self._before = handler, signal.setitimer(signal.ITIMER_REAL, left, _AGAIN)

    def __exit__(self, *_: object) -> None:
        self._armed = False
        if self._before is not None:
            handler, timer = self._before
            signal.setitimer(signal.ITIMER_REAL, *timer)
            signal.signal(signal.SIGALRM, handler or signal.SIG_DFL)
            self._before = None

    def _ring(self, number: int, frame: FrameType | None) -> None:
        if self._armed:
            self.check()
