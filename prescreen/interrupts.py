"""Interrupts: Ctrl-C and requests to end reach the command line as one exception and leave one line."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from prescreen.text import printable

# Windows has no SIGHUP.
_NAMES = [name for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_NUMBERS = [signal.Signals[name] for name in _NAMES]


class Interrupted(BaseException):
    """A signal asks the command line to end."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def is_from_outside(error: BaseException) -> bool:
    """Whether an exception stands for a signal, and is not one that a candidate's code raised itself.

    Where Ctrl-C is ignored, as in worker processes, or raises Interrupted, as in the command line, a
    KeyboardInterrupt can only be the candidate's own.
    """
    ours = signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, _interrupt)
    return isinstance(error, Interrupted) or (isinstance(error, KeyboardInterrupt) and not ours)


@contextmanager
def signals_interrupt() -> Iterator[None]:
    """Let signals raise Interrupted inside the context; those that are ignored (nohup) stay so."""
    before = _handle(_interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def same_handlers() -> Iterator[None]:
    """Take back the signals for which others, such as Ray, set handlers inside the context."""
    before = [number for number in _NUMBERS if signal.getsignal(number) is _interrupt]
    try:
        yield
    finally:
        for number in before:
            signal.signal(number, _interrupt)


def report(number: int) -> int:
    """Say in one line that a signal ends the command line, and how to go on; its exit code."""
    by = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    command = _resuming(sys.argv)
    resumes = f"; go on with: {command}" if command else ""
    # Without Python's streams: a signal can arrive while they are in use.
    with suppress(OSError):  # nobody may read it
        os.write(2, f"prescreen: interrupted{by}{resumes}\n".encode(errors="backslashreplace"))
    return 128 + number


def _resuming(words: Sequence[str]) -> str:
    """The command that continues what the command line has begun; empty if it begins anew anyway."""
    if "rank" not in words[1:2]:
        return ""
    again = [word for word in words[1:] if word not in ("--fresh", "--no-fresh")]
    if any(word.partition("=")[0] == "--config" for word in again):
        again.append("--no-fresh")
    is_module = os.path.basename(words[0]) in ("-m", "__main__.py")
    program = ["python", "-m", "prescreen"] if is_module else ["prescreen"]
    return printable(_quoted([*program, *again]))


def _quoted(words: Sequence[str]) -> str:
    """A command line as it can be typed."""
    if os.name == "nt":
        from subprocess import list2cmdline

        return list2cmdline(words)
    return shlex.join(words)


def end_quietly_if_command_line() -> None:
    """If this process is the command line, end it on signals, even while torch is being imported."""
    # While `python -m prescreen` imports the package, sys.argv does not name it yet.
    as_module = ("-m", "prescreen") in zip(sys.orig_argv, sys.orig_argv[1:], strict=False)
    as_script = os.path.basename(sys.argv[0] if sys.argv else "") in ("prescreen", "prescreen.exe")
    is_worker = "--multiprocessing-fork" in sys.orig_argv  # its sys.argv is that of its parent
    if not is_worker and ((as_module and sys.argv[0] == "-m") or as_script):
        _handle(_end)


def _handle(handler: Callable[[int, FrameType | None], None]) -> dict[int, Any]:
    """Handle the signals that are not ignored; the handlers before."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    before = {number: signal.getsignal(number) for number in _NUMBERS}
    handled: dict[int, Any] = {
        n: old for n, old in before.items() if old not in (signal.SIG_IGN, None)
    }
    for number in handled:
        signal.signal(number, handler)
    return handled


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(report(number))
