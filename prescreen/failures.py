"""Failures: a candidate that cannot be ranked is a result, with a kind and a reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from prescreen.captured import NonFiniteError
from prescreen.checks import require_one_of
from prescreen.heads.execute import is_out_of_memory
from prescreen.interrupts import is_from_outside
from prescreen.text import named_line

KINDS = ("build", "run", "memory", "diverged", "collapsed", "killed", "timeout", "limit")

# These can be the machine's doing, such as the out-of-memory killer's or that of others who use it:
# a run that is continued measures their candidates again.
UNSURE = ("killed", "timeout")


class CandidateFailed(Exception):
    """A candidate that cannot be ranked: a result, with a kind and a reason for people.

    Kinds: ``"build"``, ``"run"``, ``"memory"``, ``"diverged"``, ``"collapsed"``, ``"killed"``,
    ``"timeout"``, and ``"limit"``: it is larger or slower than was asked for, and no failure.
    """

    def __init__(self, kind: str, reason: str) -> None:
        require_one_of("kind", kind, KINDS)
        super().__init__(kind, reason)
        self.kind = kind
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.kind}: {self.reason}"


@contextmanager
def failing_as(kind: str) -> Iterator[None]:
    """Turn whatever a candidate's own code raises, sys.exit() included, into a CandidateFailed."""
    process = os.getpid()
    try:
        yield
    except BaseException as error:  # the candidate's code is not ours: its errors are results
        if os.getpid() != process:
            os._exit(1)
        if isinstance(error, CandidateFailed) or is_from_outside(error):
            raise
        if isinstance(error, NonFiniteError):
            raise CandidateFailed("diverged", str(error)) from error
        kind = "memory" if is_out_of_memory(error) else kind
        raise CandidateFailed(kind, named_line(error)) from error
    if os.getpid() != process:
        os._exit(0)  # a fork that the candidate made: only its parent goes on here
