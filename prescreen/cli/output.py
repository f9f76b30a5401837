"""Output: results on the standard output, notes on the other; both survive any locale and name."""

from __future__ import annotations

import errno
import logging
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from prescreen.text import printable


def show(text: str, end: str = "\n") -> None:
    """Print a result; characters that the locale lacks are escaped."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), end=end, flush=True)
    except OSError as error:
        if error.errno == errno.EINVAL:  # Windows' word for a pipe that nobody reads
            raise BrokenPipeError(*error.args) from None
        raise


def width() -> int | None:
    """The columns of the terminal that results are shown in; None elsewhere, as in a pipe."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def note(line: str) -> None:
    """Print a line for people on the standard error."""
    print(printable(line), file=sys.stderr)


class _Notes(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        note(record.getMessage())


@contextmanager
def logs_as_notes() -> Iterator[None]:
    """Print what prescreen logs, and nothing else, inside the context."""
    logger, handler = logging.getLogger("prescreen"), _Notes(logging.WARNING)
    before = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = before
