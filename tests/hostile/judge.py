"""What may come of a hostile input: a right result, or one clear line. Anything else is a fault."""

import contextlib
import os
import sys
import tempfile
from dataclasses import dataclass

EQUAL, REFUSED = "equal", "refused"
_LONGEST = 1500  # characters: a reason of 1,000, and what stands around it


class Refused(Exception):
    """The input was refused in one clear line."""


def require_line(message):
    """Refuse messages that are not one line for people."""
    shown = message if len(message) <= _LONGEST else f"{message[:200]} … {len(message)} characters"
    assert message.strip(), "refused without a word"
    assert message.isprintable(), f"refused with control characters: {shown!r}"
    assert len(message) <= _LONGEST, f"refused at too great a length: {shown!r}"


@contextlib.contextmanager
def refusing():
    """Turn a clear ValueError into Refused; subclasses are other libraries' errors."""
    try:
        yield
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        require_line(str(error))
        raise Refused(str(error)) from error


@dataclass
class Output:
    code: int
    out: str
    err: str


def command(arguments, *, talkative=False):
    """Run a command line in this process, and judge how it ends.

    Args:
        talkative: candidates may print, so that the line is the last of several.
    """
    from prescreen.__main__ import main

    with _captured() as read:
        sys.argv = ["prescreen", *arguments]
        code = main()
    done = Output(code, *read())
    told = done.err.splitlines()
    assert "Traceback (most recent" not in done.out + done.err, f"traceback: {done.err[-2000:]}"
    assert code in (0, 1, 2), f"exit code {code}"
    # Lone surrogates and the like must be escaped, and so must whatever steers a terminal.
    assert all(line.isprintable() for line in done.out.splitlines()), f"raw output {done.out!r}"
    if code == 2:
        assert told, "refused without a word"
        require_line(told[-1])
        assert told[-1].startswith("prescreen: "), f"not a line of prescreen: {told[-1]!r}"
        assert talkative or len(told) == 1, f"more than a line: {done.err!r}"
        raise Refused(told[-1])
    return done


@contextlib.contextmanager
def _captured():
    """Send the process's own output to files: whatever is written, by Python or not."""
    texts = []
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        kept = [(1, os.dup(1), out, sys.stdout), (2, os.dup(2), err, sys.stderr)]
        for number, _, file, _ in kept:
            os.dup2(file.fileno(), number)
        try:
            yield lambda: texts
        finally:
            for number, before, file, stream in kept:
                stream.flush()
                os.dup2(before, number)
                file.seek(0)
                texts.append(file.read().decode(errors="surrogateescape"))
