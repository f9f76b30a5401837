"""Ends: what the exit code of a worker process says of its candidate."""

from __future__ import annotations

import signal

# A candidate's own doing: crashes, and the out-of-memory killer's SIGKILL. Any other signal comes from
# outside, and says nothing about the candidate.
_CRASHES = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSYS", "SIGTRAP", "SIGKILL")


def is_from_outside(code: int) -> bool:
    """Whether a process was ended by a signal that says nothing about its candidate."""
    return code < 0 and _signal(code) not in _CRASHES


def _signal(code: int) -> str:
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def reason_of(code: int, times: int) -> str:
    """Why a candidate is given up whose processes ended so many times, the last one with this code."""
    if code >= 0:
        return f"its worker process ended with exit code {code}"
    if is_from_outside(code):
        return f"its worker process was ended {times} times from outside, by {_signal(code)}"
    hint = ", out of memory?" if _signal(code) == "SIGKILL" else ""
    return f"its worker process ended with {_signal(code)}{hint}"
