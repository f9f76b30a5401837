"""Streams: the standard output is for results; what candidates print goes to the standard error."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

CLOSED_PIPE = 128 + 13  # the exit code if nobody reads the output, as after SIGPIPE


@contextmanager
def candidates_on_stderr() -> Iterator[None]:
    """Inside the context, whatever is printed goes to the standard error, also by code in C."""
    with redirect_stdout(sys.stderr), _descriptor_on_stderr():
        yield


@contextmanager
def _descriptor_on_stderr() -> Iterator[None]:
    _flush()
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of them is closed
        yield
        return
    try:
        yield
    finally:
        _flush()
        os.dup2(kept, 1)
        os.close(kept)


def end_of_output() -> int:
    """Write out what is printed; later output, such as that of exit handlers, goes to stderr.

    Returns:
        0, or ``CLOSED_PIPE``, as after ``| head``.
    """
    code = 0
    try:
        sys.stdout.flush()
    except OSError:
        code = CLOSED_PIPE
    if sys.stdout is sys.__stdout__:
        with suppress(OSError):
            os.dup2(2 if code == 0 else os.open(os.devnull, os.O_WRONLY), 1)
    return code


def _flush() -> None:
    """Empty the buffers of Python and C, of which either may have its own."""
    for stream in (sys.stdout, sys.__stdout__):
        if stream is not None:
            stream.flush()
    with suppress(OSError, AttributeError, TypeError):  # no such library on this platform
        ctypes.CDLL(None).fflush(None)
